"""Neighbours and clusters by sequence (MMseqs2) and by structure (TM-score, Foldseek)."""
