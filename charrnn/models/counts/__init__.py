"""Counts of contexts, mixed by weights that are learned: a model made in seconds."""
