"""Noise schedules, processes and exact categorical draws: pure tensor mathematics."""
