"""Where text comes from: files, directories, standard input; read in pieces, decoded without loss."""

import codecs
import os
import stat
import sys
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from charrnn.errors import InputError, SettingsError
from charrnn.fields import did_you_mean
from charrnn.text.settings import is_stdin

CHUNK_BYTES = 1 << 20
_SNIFFED_BYTES = 8192
_NAME_CHARS = 40  # of a text that is typed
_MOST_COMPARED = 2000  # names of files, with that of one that is missing

# Longest first: UTF-32's little-endian mark begins with UTF-16's.
_BYTE_ORDER_MARKS = [
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]


# What can be read only once, kept for the next reading in this process.
_spools: "weakref.WeakKeyDictionary[IO[str], IO[bytes]]" = weakref.WeakKeyDictionary()
_pipe_spools: dict[tuple[str, int, int], IO[bytes]] = {}


@dataclass(frozen=True)
class Source:
    """One text to be read, as often as needed.

    Attributes:
        name: what a user calls it.
        path: of the file; None for spooled standard input.
        spool: standard input, kept in an unnamed temporary file; None for a file.
        text: the text itself, where it was typed; None for one that is read.
    """

    name: str
    path: Path | None
    spool: IO[bytes] | None = None
    text: str | None = None

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The bytes from first to last.

        Raises:
            InputError: the file cannot be read, or is not a regular file.
        """
        if self.text is not None:
            yield self.text.encode("utf-8")
            return
        if self.spool is not None:
            self.spool.seek(0)
            while chunk := self.spool.read(chunk_bytes):
                yield chunk
            return
        try:
            with _open_regular(self.path or Path(self.name)) as file:
                while chunk := file.read(chunk_bytes):
                    yield chunk
        except OSError as error:
            raise InputError(f"cannot read {self.name!r}: {error.strerror or error}") from error

    def signature(self) -> tuple[int, ...]:
        """What changes when the file does: its number, size and time of last change; nothing for a spool.

        Raises:
            InputError: the file has gone.
        """
        if self.path is None:
            return ()
        try:
            found = self.path.stat()
        except OSError as error:
            raise InputError(f"cannot read {self.name!r}: {error.strerror or error}") from error
        return found.st_ino, found.st_size, found.st_mtime_ns

    def texts(self, encoding: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[str]:
        """The characters from first to last; line ends and all else as they are, a byte order mark left out.

        Raises:
            InputError: the bytes are not text in ``encoding``; names offset and bytes and what to do.
            SettingsError: there is no such encoding.
        """
        if self.text is not None:
            yield self.text
            return
        decoder: codecs.IncrementalDecoder | None = None
        num_fed = 0
        used = encoding
        for chunk in self.chunks(chunk_bytes):
            if decoder is None:
                used = _marked_encoding(chunk, encoding) or encoding
                decoder = _decoder(used)
            yield self._decoded(decoder, chunk, num_fed, used, final=False)
            num_fed += len(chunk)
        if decoder is not None:
            yield self._decoded(decoder, b"", num_fed, used, final=True)

    def _decoded(
        self, decoder: codecs.IncrementalDecoder, chunk: bytes, num_fed: int, encoding: str, *, final: bool
    ) -> str:
        pending = decoder.getstate()[0]
        try:
            return decoder.decode(chunk, final)
        except UnicodeError as error:
            start, wrong = 0, (pending + chunk)[:1]
            if isinstance(error, UnicodeDecodeError):
                start, wrong = error.start, error.object[error.start : error.end]
            offset = num_fed - len(pending) + start
            shown = " ".join(f"{byte:02x}" for byte in wrong[:4])
            raise InputError(
                f"{self.name!r} is not {encoding}: byte {shown} at offset {offset:,}; give its encoding "
                f"(such as `encoding=latin-1`) or model its bytes (`level=byte`)"
            ) from error


def typed_source(text: str) -> Source:
    """A text that is typed and not read; the beginning of its first line is its name."""
    line, newline, _ = text.partition("\n")
    is_whole = len(line) <= _NAME_CHARS and not newline
    return Source(line if is_whole else f"{line[:_NAME_CHARS]}...", None, text=text)


class Found(NamedTuple):
    """Sources in the order they are read, and what the user should know of how they were found."""

    sources: list[Source]
    notes: list[str]


def find_sources(paths: Sequence[str | Path], *, level: str, encoding: str) -> Found:
    """The sources that ``paths`` name, in order: a directory stands for its text files in sorted path order.

    In a directory, hidden files and files that are not text are passed over, the latter with a note; a file named
    itself is never passed over. "-" is standard input, kept in a temporary file so that it can be read again, also
    by a later call.

    Raises:
        InputError: a path is missing, cannot be read, is neither file nor directory, or holds no text file.
    """
    if level == "char":
        _decoder(encoding)
    sources: list[Source] = []
    notes: list[str] = []
    for given in paths:
        path = Path(given)
        if not str(given):  # an unset variable of a shell script, not the directory that "" means to the system
            raise InputError("a text has the empty name; name a file, a directory or -")
        if is_stdin(str(given)):
            if any(source.name == "-" for source in sources):
                raise InputError("standard input (-) can be read only once")
            sources.append(Source("-", None, _spooled_stdin()))
            continue
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                sources += _in_directory(path, level, encoding, notes)
            elif stat.S_ISFIFO(mode) and str(given).startswith("/dev/fd/"):
                sources.append(Source(str(given), None, _spooled_pipe(path)))
            else:
                sources.append(Source(str(given), path))
        except FileNotFoundError as error:
            raise InputError(f"cannot read {str(given)!r}: {error.strerror}{_instead_of(path)}") from error
        except OSError as error:
            raise InputError(f"cannot read {str(given)!r}: {error.strerror or error}") from error
        except ValueError as error:  # a NUL in the name
            raise InputError(f"cannot read {str(given)!r}: {error}") from error
    counts = Counter(source.path.resolve() for source in sources if source.path is not None)
    notes += [f"{path.name!r} is named {count} times and read each time" for path, count in counts.items() if count > 1]
    if level == "char":
        for source in sources:
            marked = _marked_encoding(next(source.chunks(4), b""), encoding)
            if marked in ("utf-16", "utf-32"):
                notes.append(f"{source.name!r} is read as {marked}, as its byte order mark says")
    return Found(sources, notes)


def _instead_of(path: Path) -> str:
    """What a user may have meant by the name of a file that is not there: one beside it, or a corpus to be gathered."""
    from charrnn.text.catalog import CATALOG

    with suppress(OSError), os.scandir(path.parent) as entries:
        if hint := did_you_mean(path.name, [entry.name for entry in islice(entries, _MOST_COMPARED)]):
            return hint
    if path.stem in CATALOG:
        return f"; charrnn corpus {path.stem} makes corpora/{path.stem}.txt"
    return "; charrnn corpus lists texts to begin with"


def _in_directory(directory: Path, level: str, encoding: str, notes: list[str]) -> list[Source]:
    if is_run(directory):
        raise InputError(
            f"{str(directory)!r} is a run, not a text; name a text (charrnn train --resume goes on with a run)"
        )
    kept, passed_over, runs, links = [], [], [], []
    for folder, folders, names in os.walk(directory, onerror=_refuse_folder):
        here = Path(folder)
        if is_run(here):
            runs.append(str(here.relative_to(directory)))
            folders.clear()
            continue
        links += [str((here / name).relative_to(directory)) for name in folders if (here / name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (here / name for name in names if not name.startswith(".")):
            if not path.is_file():
                continue
            source = Source(str(path), path)
            if _is_text(source, level, encoding):
                kept.append(source)
            else:
                passed_over.append(str(path.relative_to(directory)))
    for found, what in (
        (passed_over, ("file that is not text", "files that are not text")),
        (runs, ("run of charrnn", "runs of charrnn")),
        (links, ("link to a directory", "links to directories")),
    ):
        if found:
            noun = what[0] if len(found) == 1 else what[1]
            notes.append(f"{str(directory)!r}: passed over {len(found)} {noun}: {_first(sorted(found))}")
    if not kept:
        raise InputError(f"{str(directory)!r} holds no text file; name files, or a directory with text in it")
    return sorted(kept, key=lambda source: source.path or Path())


def is_run(directory: Path) -> bool:
    """Whether charrnn has trained in this directory: its history and settings are not a text to learn from."""
    if (directory / "training.safetensors").exists():
        return True
    with suppress(OSError), (directory / ".lock").open("rb") as file:
        return file.read(8) == b"process "
    return False


def _refuse_folder(error: OSError) -> None:
    raise InputError(f"cannot read {error.filename!r}: {error.strerror}") from error


def _first(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")


def _is_text(source: Source, level: str, encoding: str) -> bool:
    first = next(source.chunks(_SNIFFED_BYTES), b"")
    if b"\0" in first and _marked_encoding(first, encoding) is None:
        return False
    if level == "byte":
        return True
    try:
        for _ in source.texts(encoding):
            pass
    except InputError:
        return False
    return True


def _open_regular(path: Path) -> IO[bytes]:
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{str(path)!r} is not a regular file; name a text file, a directory or - for standard input")
    return os.fdopen(descriptor, "rb")


def _spooled_stdin() -> IO[bytes]:
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input is closed; name a file instead of -")
    if sys.stdin not in _spools:
        if sys.stdin.isatty():
            raise InputError("standard input is a terminal; pipe a text into it, or name a file instead of -")
        spool = _spooled(sys.stdin.buffer)
        _spools[sys.stdin] = spool
        weakref.finalize(sys.stdin, spool.close)
    return _spools[sys.stdin]


def _spooled_pipe(path: Path) -> IO[bytes]:
    found = path.stat()
    key = (str(path), found.st_dev, found.st_ino)
    if key not in _pipe_spools:
        with path.open("rb") as pipe:
            _pipe_spools[key] = _spooled(pipe)
    return _pipe_spools[key]


def _spooled(stream: IO[bytes]) -> IO[bytes]:
    spool: IO[bytes] | None = None
    try:
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - kept, for the next reading
        while chunk := stream.read(CHUNK_BYTES):
            spool.write(chunk)
        spool.flush()
    except OSError as error:
        if spool is not None:
            with suppress(OSError):
                spool.close()
        raise InputError(
            f"cannot keep what is piped in ({error.strerror or error}); set TMPDIR to a directory with room, or "
            f"save the text to a file and name that"
        ) from error
    return spool


def _marked_encoding(first: bytes, encoding: str) -> str | None:
    """The encoding that a byte order mark at the start names; None where there is no mark or ``encoding`` has none."""
    if not codecs.lookup(encoding).name.startswith("utf"):
        return None
    return next((marked for mark, marked in _BYTE_ORDER_MARKS if first.startswith(mark)), None)


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        info = codecs.lookup(encoding)
        if not info._is_text_encoding:
            raise LookupError
        return info.incrementaldecoder("strict")
    except (LookupError, TypeError, ValueError) as error:
        raise SettingsError(
            f"`encoding` is {encoding!r}, which is not a text encoding; try utf-8 or latin-1"
        ) from error
