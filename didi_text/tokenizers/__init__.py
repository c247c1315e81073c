"""Tokenizers: bundled, GPT-2 and WordPiece, trained here."""
