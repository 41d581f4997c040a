"""What is asked, and the answers: templates, relations, answer lists and ground truth."""
