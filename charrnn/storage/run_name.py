"""Runs by their names: where they are, which there are, and which one a user means."""

import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from charrnn.errors import CharRNNError, InputError, SettingsError
from charrnn.fields import did_you_mean
from charrnn.storage.run_files import CONFIG_NAME, DEFAULT_RUNS, METRICS_NAME, MODEL_NAME, RUN_FILES, TRAINING_NAME
from charrnn.storage.run_lock import is_directory, is_in_use

_SHOWN_RUNS = 10


def runs_directory() -> Path:
    """The directory that holds runs: ``CHARRNN_RUNS`` where that is set, else ``checkpoints`` in the current one."""
    return Path(os.environ.get("CHARRNN_RUNS") or DEFAULT_RUNS)


def run_directories(runs: Path | None = None) -> list[Path]:
    """The directories of all runs in ``runs``; the one that changed last stands last.

    Args:
        runs: directory that holds runs; None for ``runs_directory()``.

    Raises:
        InputError: it is there, but cannot be looked into.
    """
    runs = runs_directory() if runs is None else runs
    try:
        found = [path for path in runs.iterdir() if not path.name.startswith(".") and holds_run(path)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot look into {str(runs)!r}: {error.strerror or error}") from error
    return sorted(found, key=lambda path: (changed(path), path.name))


def holds_run(directory: Path) -> bool:
    """Whether a run is in ``directory``, whole or not: a model, a training state, or a process that has just begun."""
    try:
        if not directory.is_dir():
            return False
        return any(os.path.lexists(directory / name) for name in (MODEL_NAME, TRAINING_NAME)) or is_in_use(directory)
    except OSError:  # no directory can have that name
        return False


def changed(directory: Path) -> float:
    """When a run's files last changed, in seconds since 1970.

    The directory itself changes also where somebody only locks it: its own time counts where there are no files yet.
    """
    times = []
    for name in (MODEL_NAME, TRAINING_NAME, METRICS_NAME):
        with suppress(OSError):
            times.append((directory / name).stat().st_mtime)
    if not times:
        with suppress(OSError):
            times.append(directory.stat().st_mtime)
    return max(times, default=0.0)


def find_run(given: str | Path, runs: Path | None = None) -> Path:
    """The run's directory, or the model file, that a user means by a name or a path.

    A name is one word without a separator. It means, in this order: a run's directory or a model file of that name in
    the current directory, the run of that name in ``runs``, any other file or directory of that name. Everything else
    is a path.

    Args:
        given: what the user gave.
        runs: directory that holds runs; None for ``runs_directory()``.

    Raises:
        SettingsError: it is empty.
        InputError: there is no such thing; the message names what there is.
    """
    runs = runs_directory() if runs is None else runs
    if not str(given):
        raise SettingsError(f"'' names no run; {choice_of_runs(runs)}")
    path = Path(given)
    is_name = _is_name(str(given))
    if is_name and not (holds_run(path) or _is_model(path)) and holds_run(runs / given):
        return runs / given
    # Of a run's file that is missing, whoever reads it says what that means.
    if _exists(path) or (not is_name and path.name in RUN_FILES):
        return path
    where = path.parent if not is_name and _runs_if_any(path.parent) else runs
    hint = did_you_mean(path.name, [directory.name for directory in _runs_if_any(where)])
    raise InputError(f"there is no run {str(given)!r}, and no such file; {choice_of_runs(where)}{hint}")


def name_to_type(directory: Path, *, quote: Callable[[str], str] = shlex.quote) -> str:
    """What a user types to mean the run in ``directory``: its name where that leads there.

    Args:
        directory: of the run.
        quote: makes a word of a shell, or, as ``repr`` does, a text of Python.
    """
    try:
        is_found = find_run(directory.name) == directory
    except CharRNNError:
        is_found = False
    return quote(directory.name if is_found else str(directory))


def find_config(given: str | Path, runs: Path | None = None) -> Path:
    """The file of settings that a user means by its path, or by the name or directory of a run that has one.

    Args:
        given: what the user gave.
        runs: directory that holds runs; None for ``runs_directory()``.

    Raises:
        SettingsError: it is empty.
        InputError: there is no such thing.
    """
    if str(given) and _is_file(Path(given)):
        return Path(given)
    found = find_run(given, runs)
    return found / CONFIG_NAME if is_directory(found) else found


def choice_of_runs(runs: Path | None = None) -> str:
    """Which runs there are, the latest first, or how to make one: for the end of a message.

    Args:
        runs: directory that holds runs; None for ``runs_directory()``.
    """
    runs = runs_directory() if runs is None else runs
    names = [directory.name for directory in reversed(_runs_if_any(runs))]
    if not names:
        return f"{runs} holds no runs yet: make one with charrnn train TEXT"
    more = f" and {len(names) - _SHOWN_RUNS} more, which charrnn runs lists" if len(names) > _SHOWN_RUNS else ""
    verb = "is" if len(names) == 1 else "are"
    return f"the run{'' if len(names) == 1 else 's'} in {runs} {verb} {', '.join(names[:_SHOWN_RUNS])}{more}"


def _runs_if_any(runs: Path) -> list[Path]:
    try:
        return run_directories(runs)
    except InputError:
        return []


def _is_name(given: str) -> bool:
    """Whether it can be a run's name; a path with a separator never is."""
    return Path(given).name == given and given not in ("", ".", "..")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no file can have that name
        return False


def _is_model(path: Path) -> bool:
    """Whether it is a file that begins as a model's does: the length of its header, then a JSON object."""
    if not _is_file(path):
        return False
    with suppress(OSError), path.open("rb") as file:
        return file.read(9)[8:] == b"{"
    return False


def _exists(path: Path) -> bool:
    """Whether it is there, or whether the system says more of it than that it is not."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True
