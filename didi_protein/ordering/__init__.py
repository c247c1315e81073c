"""`order`: from proteins to DNA that a vendor can make, on plates."""
