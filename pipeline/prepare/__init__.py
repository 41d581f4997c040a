"""From a configuration to subjects and columns in the model's tokens."""
