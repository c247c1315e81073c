"""`compare` and `quickstart` of both programs: cells, their table, curves at equal diversity."""
