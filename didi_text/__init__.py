"""DiDi for text: the same engine on GPT-2 tokens."""
