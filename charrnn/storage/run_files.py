"""The names of a run's files, in its directory."""

MODEL_NAME = "model.safetensors"
"""The best model so far."""

TRAINING_NAME = "training.safetensors"
"""All that a run needs to go on."""

METRICS_NAME = "metrics.jsonl"
"""The history: one JSON object per line."""

CONFIG_NAME = "run.toml"
"""The settings in effect."""

LOCK_NAME = ".lock"
"""Locked while a process trains."""
