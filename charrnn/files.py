"""Files that are whole at any instant: written beside, synced, then renamed over.

Every call goes through the ``os`` module by name, so that a test can make the N-th one fail.
"""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from charrnn.errors import OutputError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = re.compile(r"\..+\.tmp-([1-9]\d{0,8})-[0-9a-f]+", re.DOTALL)


class Writer:
    """A file being written; see ``replacing``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes | memoryview) -> None:
        """Writes all of ``data``, however few bytes each call takes."""
        write_all(self._descriptor, data)


@contextmanager
def replacing(path: Path) -> Iterator[Writer]:
    """A writer whose file takes the place of ``path`` at the end of the block, if nothing went wrong.

    A reader of ``path`` finds the old file or the new one, also during the block and after a crash.

    Args:
        path: in an existing directory.

    Raises:
        OSError: it could not be written; the file before is as it was, and nothing is left beside it. (Only when the
            directory's sync fails is the new file in place already: whole, but not safe from a power cut.)
    """
    temporary = temporary_beside(path)
    try:
        descriptor = _open_new(temporary)
        try:
            yield Writer(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 - see the module's docstring
        _sync_directory(path.parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Makes ``path`` hold ``data``, as ``replacing`` does.

    Args:
        path: in an existing directory.
        data: all of the file.

    Raises:
        OutputError: it could not be written; the file before is as it was.
    """
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {describe(error, path.parent, len(data))}") from error


def temporary_beside(path: Path) -> Path:
    """A name beside ``path`` with the number of the process that writes it, so that leftovers can be recognised."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


def remove_stale(directory: Path) -> None:
    """Removes the temporary files of killed processes from ``directory``."""
    with suppress(OSError):
        for path in directory.glob(".*.tmp-*"):
            match = _TEMPORARY.fullmatch(path.name)
            if match and not _is_alive(int(match[1])):
                with suppress(OSError):
                    path.unlink()


def probe_writable(directory: Path) -> None:
    """Makes ``directory`` with its parents and makes sure that files can be written there.

    Raises:
        OutputError: they cannot.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the directory {str(directory)!r}: {error.strerror}; choose another with `out` or `name`"
        ) from error
    probe = temporary_beside(directory / "probe")
    try:
        descriptor = _open_new(probe)
        try:
            write_all(descriptor, b"charrnn\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.unlink(probe)  # noqa: PTH108
    except OSError as error:
        with suppress(OSError):
            os.unlink(probe)  # noqa: PTH108
        raise OutputError(
            f"cannot write into {str(directory)!r}: {describe(error, directory, 8)}; choose another with `out`"
        ) from error


def describe(error: OSError, directory: Path, num_bytes: int) -> str:
    """What went wrong; where there is no room, also how much was needed and how much is free."""
    reason = error.strerror or str(error)
    if error.errno not in _NO_ROOM:
        return reason
    try:
        status = os.statvfs(directory)
        free = f"{status.f_bavail * status.f_frsize:,}"
    except OSError:
        free = "an unknown number of"
    return f"{reason} ({num_bytes:,} bytes needed, {free} bytes free): free some room"


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all of ``data``, however few bytes each call takes."""
    view = memoryview(data).cast("B")
    while view:
        written = os.write(descriptor, view)
        if not written:
            raise OSError(errno.EIO, "the system took no byte of it")
        view = view[written:]


def _open_new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return  # directories cannot be opened there, so they cannot be synced
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
