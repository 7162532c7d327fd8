"""A run's history: one JSON object per line, appended as it happens."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from charrnn.errors import InputError, OutputError
from charrnn.files import describe, write_all, write_atomically
from charrnn.storage.container import plain

# What says only how long a run has taken, for one that goes on: then it goes, and the history is that of one run.
_CLOCK_EVENTS = ("saved", "stopped")
_TAIL_BYTES = 16_384  # some eighty lines


class MetricsLog:
    """Appends lines to a run's history.

    On opening, what is not part of the resumed run is removed: an incomplete last line, any other line that is not a
    JSON object, lines that only say when a run was saved or stopped, and lines of steps after its checkpoint, which
    the run will write again.

    Args:
        path: of the file; need not exist.
        keep_until_step: the checkpoint's step.

    Attributes:
        found: the lines that were there and are kept, and those removed that say only how long the run has taken.

    Raises:
        InputError: the file is there but cannot be read.
        OutputError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path, *, keep_until_step: int) -> None:
        self._path = path
        self._failed = False
        data = _read(path)
        kept = [(raw, line) for raw, line in _whole_lines(data) if _step_of(line) <= keep_until_step]
        self.found = [line for _, line in kept]
        whole = b"".join(raw for raw, line in kept if line.get("event") not in _CLOCK_EVENTS)
        if whole != data:
            write_atomically(path, whole)
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write {str(path)!r}: {error.strerror}") from error

    def append(self, line: dict[str, Any]) -> None:
        """Adds a line; numbers that are not finite become null.

        Raises:
            OutputError: it could not be written; raised once, after which lines are dropped silently.
        """
        if self._failed:
            return
        text = (json.dumps(plain(line), allow_nan=False) + "\n").encode()
        try:
            write_all(self._descriptor, text)
        except OSError as error:
            self._failed = True
            raise OutputError(
                f"cannot append to {str(self._path)!r}: {describe(error, self._path.parent, len(text))}"
            ) from error

    def last_number(self, key: str) -> float:
        """The last finite value of ``key`` in the lines found on opening; 0 where there is none."""
        return _last_number(self.found, key) or 0.0

    def last_step(self, event: str) -> int:
        """The step of the last of such lines found on opening; 0 where there is none."""
        steps = [line["step"] for line in self.found if line.get("event") == event and type(line.get("step")) is int]
        return steps[-1] if steps else 0

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            with suppress(OSError):  # a run that is done must not fail because the end of its history may be lost
                os.close(self._descriptor)
            self._descriptor = -1


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a history, oldest first; what is incomplete or not a JSON object is left out.

    Raises:
        InputError: the file is there but cannot be read.
    """
    return [line for _, line in _whole_lines(_read(path))]


def last_seconds(path: Path) -> float | None:
    """How long the run had taken when the last line that says so was written; None where there is none.

    Raises:
        InputError: the file is there but cannot be read.
    """
    return _last_number([line for _, line in _whole_lines(_read(path, last_bytes=_TAIL_BYTES))], "seconds")


def check_metrics(path: Path) -> int:
    """How many lines a history has, an incomplete last one left out.

    Raises:
        InputError: the file cannot be read, or a line is not a JSON object.
    """
    data = _read(path)
    num_lines, num_whole = data.count(b"\n"), len(_whole_lines(data))
    if num_whole < num_lines:
        raise InputError(f"{num_lines - num_whole} of its {num_lines} lines are damaged; the next run removes them")
    return num_lines


def _read(path: Path, *, last_bytes: int | None = None) -> bytes:
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would wait without end
            raise InputError(f"{str(path)!r} is not a regular file; move it away")
        with path.open("rb") as file:
            if last_bytes is not None:
                file.seek(max(0, file.seek(0, os.SEEK_END) - last_bytes))
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from error


def _whole_lines(data: bytes) -> list[tuple[bytes, dict[str, Any]]]:
    """Each whole line as it is in the file, with what it says."""
    lines = []
    for raw in data.split(b"\n")[:-1]:  # after the last newline comes nothing, or an incomplete line
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            lines.append((raw + b"\n", line))
    return lines


def _last_number(lines: list[dict[str, Any]], key: str) -> float | None:
    """The last finite value of ``key``; None where there is none."""
    for line in reversed(lines):
        value = line.get(key)
        if type(value) is float and math.isfinite(value):
            return value
        if type(value) is int and abs(value) < 1 << 63:
            return float(value)
    return None


def _step_of(line: dict[str, Any]) -> float:
    """The step of a line: 0 where it has none; infinite where it is not a number, so that the line is removed."""
    step = line.get("step", 0)
    return step if type(step) is int else math.inf
