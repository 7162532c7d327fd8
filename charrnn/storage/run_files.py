"""Where runs are, and the names of a run's files in its directory."""

DEFAULT_RUNS = "checkpoints"
"""The directory that holds runs, where none is named."""

MODEL_NAME = "model.safetensors"
"""The best model so far."""

TRAINING_NAME = "training.safetensors"
"""All that a run needs to go on."""

METRICS_NAME = "metrics.jsonl"
"""The history: one JSON object per line."""

CONFIG_NAME = "run.toml"
"""The settings in effect."""

RUN_FILES = (MODEL_NAME, TRAINING_NAME, METRICS_NAME, CONFIG_NAME)
"""All of these."""

LOCK_NAME = ".lock"
"""Locked while a process trains."""
