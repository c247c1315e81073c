"""Sequences in and out: alphabet, FASTA, lengths, training data."""
