"""`generate` with text: prompts, samples, their files and figures."""
