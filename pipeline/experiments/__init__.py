"""W tested on the model itself: edits, gradients, training, shallow networks."""
