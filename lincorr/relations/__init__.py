"""What is asked, and the answers: templates, relations, lists and ground truths."""
