"""What goes into the model and comes out: tokens, subjects, prompt trees and answer columns."""
