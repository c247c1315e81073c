"""Protein models by name: denoisers, autoregressive ones, judges, ESM-2."""
