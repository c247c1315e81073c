"""What networks are given: vocabulary, padded batches and their plan, corpora."""
