"""Files: written whole, read with their faults named; tables, shards, downloads."""
