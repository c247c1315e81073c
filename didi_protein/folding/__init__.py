"""ESMFold without a compiler: the structure of each design, and how sure the model is of it."""
