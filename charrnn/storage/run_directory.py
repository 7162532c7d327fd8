"""The directory of a run: its name, the lock that keeps other processes out, and what happens when a start fails."""

import itertools
import os
import re
import shlex
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from charrnn.errors import InputError, LockedError, OutputError, SettingsError
from charrnn.files import probe_writable
from charrnn.storage.run_files import CONFIG_NAME, LOCK_NAME, METRICS_NAME, TRAINING_NAME

# What a run writes before its first checkpoint: a directory with no more than that holds no run to go on with.
_BEFORE_CHECKPOINT = {METRICS_NAME, CONFIG_NAME}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
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


@contextmanager
def new_run(out: Path, name: str, *, is_chosen: bool) -> Iterator[Path]:
    """A locked directory for a new run; where the block fails before it has written a file, it goes again.

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
            try:
                yield directory
            except BaseException:
                if not _visible(directory):
                    with suppress(OSError):
                        (directory / LOCK_NAME).unlink()
                raise
        return


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
    has_state = (directory / TRAINING_NAME).exists()
    shown = shlex.quote(str(directory))
    holds = f"a run; go on with `resume={shown}`," if has_state else "files, but no run to go on with;"
    return OutputError(f"{directory} already holds {holds} give another `name`, or remove it")


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


def is_directory(path: Path) -> bool:
    """Whether there is such a directory; False also for a name that none can have."""
    try:
        return path.is_dir()
    except OSError:
        return False
