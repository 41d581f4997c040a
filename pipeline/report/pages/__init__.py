"""The pages of a report: what each shows, and its template."""
