"""Many relations side by side."""
