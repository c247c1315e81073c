"""Text to train and evaluate on: documents, blocks, caches, public corpora."""
