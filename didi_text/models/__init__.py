"""Text models by name, with their tokenizers."""
