"""The plots of a relation: one file each, all drawn through `figure`."""
