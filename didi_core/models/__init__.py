"""Denoisers, attention, discriminator, EMA, and model folders."""
