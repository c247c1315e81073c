"""`compare` and `quickstart` with proteins."""
