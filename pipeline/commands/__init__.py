"""Verbs of the command line, a module each."""
