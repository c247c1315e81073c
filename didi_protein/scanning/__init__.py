"""Every single substitution of a sequence, scored by a masked model."""
