"""Verbs of the command line, one a file; `pipeline.cli` registers them."""
