"""`compare` and `quickstart` with text."""
