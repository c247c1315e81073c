"""`score`: rows, scorers, the table and its summary."""
