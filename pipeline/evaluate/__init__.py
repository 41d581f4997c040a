"""What r is worth, and what W says."""
