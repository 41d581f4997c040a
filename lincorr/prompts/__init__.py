"""What goes into the model: tokens, subjects, columns and prefix trees."""
