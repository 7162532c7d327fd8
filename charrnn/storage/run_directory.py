"""The directory of a new run: its name, who has it already, and what is left when a start fails."""

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from charrnn.errors import LockedError, OutputError, SettingsError
from charrnn.files import probe_writable
from charrnn.storage.run_files import CONFIG_NAME, LOCK_NAME, METRICS_NAME, TRAINING_NAME
from charrnn.storage.run_lock import RunLock

# What a run writes before its first checkpoint: a directory with no more than that holds no run to go on with.
_BEFORE_CHECKPOINT = {METRICS_NAME, CONFIG_NAME}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@contextmanager
def new_run(out: Path, name: str, *, is_chosen: bool) -> Iterator[Path]:
    """A locked directory for a new run; where the block fails before the run has come to anything, it goes again.

    Args:
        out: directory that holds runs; made if missing.
        name: of the run.
        is_chosen: whether the user chose the name; if not, the first of name, name-2, name-3, ... that is free is used.

    Raises:
        SettingsError: the name cannot name a run.
        OutputError: the name is taken, or nothing can be written there.
        LockedError: the name was chosen, and another process uses it.
    """
    checked_name(name)
    for number in itertools.count(1):
        directory = out / (name if number == 1 else f"{name}-{number}")
        if is_taken(directory):
            if is_chosen:
                raise _taken(directory)
            continue
        made = _missing(directory)
        with ExitStack() as stack:
            stack.callback(_remove_empty, made)
            probe_writable(directory)
            try:
                stack.enter_context(RunLock(directory))
            except LockedError:
                if is_chosen:
                    raise
                continue
            if is_taken(directory):  # another process was faster, and is done
                if is_chosen:
                    raise _taken(directory)
                continue
            before = _visible(directory)
            try:
                yield directory
            except BaseException:
                _remove_begun(directory, before)
                raise
        return


def checked_name(name: str) -> str:
    """``name``, if it can name a run: no path, nothing hidden, nothing that looks like an option.

    Raises:
        SettingsError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"`name` is {name!r}; it must be 1 to 100 letters, digits, '.', '_' or '-', and begin with a letter, "
            f"a digit or '_'"
        )
    return name


COUNTS_SUFFIX = "-counts"
"""What the name of a run that counts ends with, where none is chosen."""


def name_of_text(text: str) -> str:
    """The name of a run that learns a text, made from the text's.

    >>> name_of_text("plays/King Lear.txt"), name_of_text("-")
    ('King-Lear', 'stdin')
    """
    # Not resolve(), which fails where no file can have that name.
    path = Path(os.path.abspath(text))  # noqa: PTH100
    stem = "stdin" if text == "-" or text.startswith("/dev/") else path.stem
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem).strip(".-")[:90] or "run"


def is_taken(directory: Path) -> bool:
    """Whether ``directory`` holds something that a new run must not touch.

    What a run left that was killed before its first checkpoint is not kept: the run begins again.
    """
    try:
        if not directory.is_dir():
            return directory.exists() or directory.is_symlink()
    except OSError:
        return False  # such a path cannot exist: the error comes when it is made
    try:
        return not _visible(directory) <= _BEFORE_CHECKPOINT
    except OSError:
        return True  # it is there, but may not be looked into


def _taken(directory: Path) -> OutputError:
    from charrnn.storage.run_name import name_to_type
    from charrnn.storage.run_summary import summarized

    if not (directory / TRAINING_NAME).exists():
        holds = "files, but no run to go on with;"
    else:
        found = summarized(directory)
        way = "wait for it," if found.state == "running" else f"go on with `resume={name_to_type(directory)}`,"
        holds = f"a run ({found.description}); {way}"
    return OutputError(f"{directory} already holds {holds} give another `name`, or remove it")


def _remove_begun(directory: Path, before: set[str]) -> None:
    """Removes what a start that failed has written; what was there before stays, and what a run has come to."""
    with suppress(OSError):
        written = _visible(directory) - before
        has_history = METRICS_NAME in written and (directory / METRICS_NAME).stat().st_size > 0
        if written <= _BEFORE_CHECKPOINT and not has_history:
            for name in written:
                (directory / name).unlink()
        if not _visible(directory):
            (directory / LOCK_NAME).unlink()


def _remove_empty(directories: list[Path]) -> None:
    for path in directories:
        with suppress(OSError):
            path.rmdir()


def _visible(directory: Path) -> set[str]:
    return {child.name for child in directory.iterdir() if not child.name.startswith(".")}


def _missing(directory: Path) -> list[Path]:
    """Those of ``directory`` and its parents that do not exist, innermost first."""
    with suppress(OSError):
        return [path for path in (directory, *directory.parents) if not path.exists()]
    return []
