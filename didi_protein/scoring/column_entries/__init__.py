"""The entries of all columns of the table of scores."""
