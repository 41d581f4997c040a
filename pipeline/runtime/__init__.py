"""Where things run, and who may write."""
