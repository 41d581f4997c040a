"""The maps of a relation, in memory or out of core."""
