"""Structure files: chains, residues, and what their pLDDT may be taken from."""
