"""Pages, plots and tables from results."""
