"""One process a run: names of runs, and the lock on a run's directory."""

import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from charrnn.errors import InputError, LockedError, OutputError, SettingsError

LOCK_NAME = ".lock"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class RunLock:
    """Holds a run's directory against other processes, as a context manager.

    The system frees the lock when its holder ends in whatever way, so it is never stale. (On a platform without
    ``fcntl`` there is no lock.)

    Args:
        directory: of the run; must exist.

    Raises:
        LockedError: another process holds it; names process and host.
        InputError: there is no such directory.
        OutputError: nothing can be written into it.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_NAME
        self._descriptor = -1

    def __enter__(self) -> "RunLock":
        try:
            import fcntl
        except ImportError:
            return self
        directory = self._path.parent
        if not directory.is_dir():
            raise InputError(f"there is no run {str(directory)!r}; name the directory of one")
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write into {str(directory)!r}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"
            os.close(descriptor)
            raise LockedError(
                f"{str(directory)!r} is in use by {holder}; wait for it, stop it, or train under another --name"
            ) from error
        with suppress(OSError):  # who holds it is a courtesy; a full disk must not forbid to train
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def checked_name(name: str) -> str:
    """``name``, if it can name a run: no path, nothing hidden, nothing that looks like an option.

    Raises:
        SettingsError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"name is {name!r}; it must be 1 to 100 letters, digits, '.', '_' or '-', and begin with a letter, "
            f"a digit or '_'"
        )
    return name


def is_taken(directory: Path) -> bool:
    """Whether ``directory`` holds something already, so that a new run must not go there."""
    if not directory.is_dir():
        return directory.exists() or directory.is_symlink()
    return any(not child.name.startswith(".") for child in directory.iterdir())
