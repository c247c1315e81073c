"""`evaluate`: perplexity of samples, likelihood bounds, zero-shot sets, multiple choice."""
