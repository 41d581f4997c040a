"""The pages of a report: what each shows, and the templates that it is made with."""
