"""`benchmark`: quality and speed of many models in one table."""
