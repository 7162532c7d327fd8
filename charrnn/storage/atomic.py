"""Files that are whole at any instant: written beside, synced, then renamed over.

Every call goes through the ``os`` module by name, so that a test can make the N-th one fail.
"""

import errno
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from charrnn.errors import OutputError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = re.compile(r"\..+\.tmp-([1-9]\d{0,8})-[0-9a-f]+", re.DOTALL)


def write_atomically(path: Path, data: bytes) -> None:
    """Makes ``path`` hold ``data``; whoever reads it meanwhile, or after a crash, finds the old file or the new one.

    Args:
        path: in an existing directory.
        data: all of the file.

    Raises:
        OutputError: it could not be written; the file before is as it was, and nothing is left beside it. (Only
            when the directory's sync fails is the new file in place already: whole, but not safe from a power cut.)
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        _write_synced(temporary, data)
        os.replace(temporary, path)  # noqa: PTH105 - see the module's docstring
        _sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise OutputError(f"cannot write {str(path)!r}: {describe(error, path.parent, len(data))}") from error


def remove_stale(directory: Path) -> None:
    """Removes what writers that were killed left beside their files in ``directory``."""
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
            f"cannot make the directory {str(directory)!r}: {error.strerror}; choose another with --out or --name"
        ) from error
    probe = directory / f".probe.tmp-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        _write_synced(probe, b"charrnn\n")
        os.unlink(probe)  # noqa: PTH108
    except OSError as error:
        with suppress(OSError):
            os.unlink(probe)  # noqa: PTH108
        raise OutputError(
            f"cannot write into {str(directory)!r}: {describe(error, directory, 8)}; choose another with --out"
        ) from error


def describe(error: OSError, directory: Path, num_bytes: int) -> str:
    """What went wrong, and for want of room how much was needed and how much is free."""
    reason = error.strerror or str(error)
    if error.errno not in _NO_ROOM:
        return reason
    try:
        status = os.statvfs(directory)
        free = f"{status.f_bavail * status.f_frsize:,}"
    except OSError:
        free = "an unknown number of"
    return f"{reason} ({num_bytes:,} bytes needed, {free} bytes free): free some room"


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of ``data``, however little each call takes."""
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view)
        if not written:
            raise OSError(errno.EIO, "the system took no byte of it")
        view = view[written:]


def _write_synced(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return  # directories cannot be opened, let alone synced
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
