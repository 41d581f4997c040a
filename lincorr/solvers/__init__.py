"""Least-squares solvers: one problem, several ways, one result. See DESIGN.md beside this file."""
