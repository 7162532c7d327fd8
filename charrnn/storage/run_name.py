"""Runs by their names: where they are, which there are, and which one a user means."""

import os
from pathlib import Path

from charrnn.errors import InputError
from charrnn.storage.run_directory import is_in_use
from charrnn.storage.run_files import MODEL_NAME, TRAINING_NAME

DEFAULT_RUNS = "checkpoints"


def runs_directory() -> Path:
    """The directory that holds runs: ``CHARRNN_RUNS`` where that is set, else ``checkpoints`` in the current one."""
    return Path(os.environ.get("CHARRNN_RUNS") or DEFAULT_RUNS)


def run_directories(runs: Path | None = None) -> list[Path]:
    """The directories of all runs in ``runs``, by name.

    Args:
        runs: directory that holds runs; None for ``runs_directory()``.

    Raises:
        InputError: it is there, but cannot be looked into.
    """
    runs = runs_directory() if runs is None else runs
    try:
        return sorted(path for path in runs.iterdir() if not path.name.startswith(".") and holds_run(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot look into {str(runs)!r}: {error.strerror or error}") from error


def holds_run(directory: Path) -> bool:
    """Whether a run is in ``directory``, whole or not: a model, a training state, or a process that has just begun."""
    try:
        if not directory.is_dir():
            return False
        return any(os.path.lexists(directory / name) for name in (MODEL_NAME, TRAINING_NAME)) or is_in_use(directory)
    except OSError:  # no directory can have that name
        return False
