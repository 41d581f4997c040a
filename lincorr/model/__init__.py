"""The language model: its files and fingerprint, loading it, and its forward passes."""
