"""How good a map is: moments, ranks, hit rates, intervals, and results as types."""
