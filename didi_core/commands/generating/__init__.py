"""`generate` of both programs: a request, its run, what is written beside it."""
