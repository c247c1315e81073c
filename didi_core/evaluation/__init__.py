"""Measures of what a model makes: judge, intervals, diversity."""
