"""Least squares: one problem, six methods, one result. See DESIGN.md beside this file."""
