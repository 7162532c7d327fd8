"""A run's history: one JSON object a line, appended as it happens."""

import json
import math
import os
from pathlib import Path
from typing import Any

from charrnn.errors import InputError, OutputError
from charrnn.storage.atomic import describe, write_all, write_atomically


class MetricsLog:
    """Appends lines to a run's history.

    On opening, what is not part of the resumed run goes: a torn last line, and lines of steps after its checkpoint,
    which the run will write again.

    Args:
        path: of the file; need not exist.
        keep_until_step: the checkpoint's step.

    Raises:
        OutputError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path, *, keep_until_step: int) -> None:
        self._path = path
        self._failed = False
        self._kept = [line for line in read_metrics(path) if line.get("step", 0) <= keep_until_step]
        text = "".join(_encoded(line) for line in self._kept).encode()
        if path.exists() and path.read_bytes() != text:
            write_atomically(path, text)
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
        text = _encoded(line).encode()
        try:
            write_all(self._descriptor, text)
        except OSError as error:
            self._failed = True
            raise OutputError(
                f"cannot append to {str(self._path)!r}: {describe(error, self._path.parent, len(text))}"
            ) from error

    def last_number(self, key: str) -> float:
        """The last value of ``key`` in the lines kept on opening; 0 where there is none."""
        values = [line[key] for line in self._kept if isinstance(line.get(key), int | float)]
        return float(values[-1]) if values else 0.0

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a history, oldest first; what is torn or no JSON object ends it.

    Raises:
        InputError: the file is there but cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from error
    lines = []
    for raw in data.splitlines(keepends=True):
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            break
        if not raw.endswith(b"\n") or not isinstance(line, dict):
            break
        lines.append(line)
    return lines


def _encoded(line: dict[str, Any]) -> str:
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
    return json.dumps(plain, allow_nan=False) + "\n"
