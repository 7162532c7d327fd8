"""The lock that keeps other processes out of a run's directory."""

import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from charrnn.errors import InputError, LockedError, OutputError
from charrnn.storage.run_files import LOCK_NAME

_HOLDER = re.compile(rb"process \d{1,10} on [\x21-\x7e]{1,100}")


class RunLock:
    """Holds a run's directory against other processes, as a context manager.

    The system frees the lock when its holder ends, however it ends, so the lock is never stale. (On a platform without
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
        if not is_directory(directory):
            raise InputError(f"there is no run {str(directory)!r}; name the directory of one")
        while self._descriptor < 0:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                match = _HOLDER.match(os.read(descriptor, 200))
                os.close(descriptor)
                raise LockedError(
                    f"{str(directory)!r} is in use by {match[0].decode() if match else 'another process'}; "
                    f"wait for it, stop it, or train under another `name`"
                ) from error
            except OSError as error:
                os.close(descriptor)
                raise OutputError(
                    f"cannot lock {str(self._path)!r}: {error.strerror}; choose a directory on another disk with `out`"
                ) from error
            # A process that failed to start may have removed the file since: then another one could lock a new file.
            if self._is_still_there(descriptor):
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        with suppress(OSError):  # the holder's name is only informative; a full disk must not forbid to train
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        try:
            # The lock is written into: it must not be a link to somebody's file, nor a FIFO to wait for.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            return os.open(self._path, flags, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write {str(self._path)!r}: {error.strerror}; remove it, or allow it") from error

    def _is_still_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except OSError:
            return False


def is_in_use(directory: Path) -> bool:
    """Whether a process is training in ``directory`` now, so that its files are still to come."""
    try:
        import fcntl

        descriptor = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_directory(path: Path) -> bool:
    """Whether there is such a directory; False also for a name that none can have."""
    try:
        return path.is_dir()
    except OSError:
        return False
