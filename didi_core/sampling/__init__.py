"""Reverse samplers: everything that turns a denoiser and a request into sequences."""
