"""`filter`: thresholds, ranking, and why each design was rejected."""
