"""The Zarr store of logits, hidden states, maps and scores."""
