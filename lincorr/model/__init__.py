"""The language model: where it lies, its fingerprint, loading it, and its forward passes."""
