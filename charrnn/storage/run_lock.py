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
_HOLDER = re.compile(rb"process \d{1,10} on [\x21-\x7e]{1,100}")


class RunLock:
    """Holds a run's directory against other processes, as a context manager.

    The system frees the lock when its holder ends in whatever way, so it is never stale. (On a platform without
    ``fcntl`` there is no lock.)

    Args:
        directory: of the run; must exist.

    Raises:
        LockedError: another process holds it; names process and host.
        InputError: there is no such directory.
        OutputError: nothing can be written or locked in it.
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
        if not _is_directory(directory):
            raise InputError(f"there is no run {str(directory)!r}; name the directory of one")
        try:
            # The lock is written into: it must not be a link to somebody's file, nor a FIFO to wait for.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write {str(self._path)!r}: {error.strerror}; remove it, or allow it") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            match = _HOLDER.match(os.read(descriptor, 200))
            os.close(descriptor)
            raise LockedError(
                f"{str(directory)!r} is in use by {match[0].decode() if match else 'another process'}; "
                f"wait for it, stop it, or train under another --name"
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise OutputError(
                f"cannot lock {str(self._path)!r}: {error.strerror}; choose a directory on another disk with --out"
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
    try:
        if not directory.is_dir():
            return directory.exists() or directory.is_symlink()
    except OSError:
        return False  # no such path can be: making it tells why
    try:
        return any(not child.name.startswith(".") for child in directory.iterdir())
    except OSError:
        return True  # there, but closed to us


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
