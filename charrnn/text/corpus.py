"""A text as ids: encoded once, in memory where it is small, mapped from a cache file where it is not."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError, OutputError
from charrnn.fields import Settings, setting
from charrnn.text.cache import cache_directory, cached_ids
from charrnn.text.source import Source, find_sources
from charrnn.text.vocab import UnknownCharacterError, Vocab, code_points

IN_MEMORY_BYTES = 32 << 20
LEAST_HELD_OUT_TEXT = 20  # symbols; a shorter text is scored on itself


@dataclass(frozen=True)
class Corpus:
    """A text, encoded.

    Attributes:
        ids: (N,) read-only symbols of the vocabulary's dtype, in memory or mapped from a file.
        vocab: the symbols.
        fingerprint: SHA-256 (hex) of level, encoding and all bytes in order.
        num_bytes: bytes of the files.
        num_chars: characters of the text; where symbols are bytes, those that begin one.
        names: of the files, without their directories.
        notes: what the user should know of how they were read.
    """

    ids: NDArray[Any]
    vocab: Vocab
    fingerprint: str
    num_bytes: int
    num_chars: int
    names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TextFacts(Settings):
    """What is kept of a text with a model that learned it; the path of the text is not.

    Attributes:
        names: of the files, without their directories; the first thousand.
        num_texts: how many files there were.
        fingerprint: SHA-256 (hex) of level, encoding and content; that of a separate held-out text follows a +.
        num_symbols: of the text.
        num_held_out: of these, or of the held-out text, the symbols that were not learned.
    """

    names: tuple[str, ...] = setting(help="Names of the texts.", is_internal=True)
    num_texts: int = setting(help="Number of texts.", low=0, high=2**62, is_internal=True)
    fingerprint: str = setting(help="Digest of the texts.", is_internal=True)
    num_symbols: int = setting(help="Symbols of the texts.", low=0, high=2**62, is_internal=True)
    num_held_out: int = setting(help="Symbols held out.", low=0, high=2**62, is_internal=True)


class Split(NamedTuple):
    """What is learned and what is held out; ``is_same`` where the text is too short to hold any out."""

    train: NDArray[Any]
    held_out: NDArray[Any]
    is_same: bool


@dataclass(frozen=True)
class Encoded:
    """One text to be scored.

    Attributes:
        name: of the file.
        ids: (N,) its known symbols, in order.
        num_unknown: characters left out because the vocabulary lacks them.
    """

    name: str
    ids: NDArray[Any]
    num_unknown: int


def open_corpus(
    paths: Sequence[str | Path],
    *,
    level: str,
    encoding: str = "utf-8",
    vocab: Vocab | None = None,
    cache_dir: Path | None = None,
) -> Corpus:
    """The texts that ``paths`` name, one after the other with nothing between, as ids.

    A text of any size is read in pieces, twice: once for its symbols and its fingerprint, once to encode it. Above
    32 MiB the ids go to a file in the cache, kept by content, and are mapped; memory stays bounded.

    Args:
        paths: files, directories (their text files in sorted order), "-" for standard input; in order.
        level: "char" or "byte"; bytes are taken as they are.
        encoding: of the files, at level "char".
        vocab: symbols to use; None takes those of the text.
        cache_dir: where encoded texts are kept; None for the user's cache.

    Raises:
        InputError: a text cannot be read, changes while it is read, or has fewer than two symbols.
        UnknownCharacterError: ``vocab`` lacks a character; names file, line and column.
        OutputError: a large text cannot be kept, neither in the cache nor in a temporary file.
    """
    found = find_sources(paths, level=level, encoding=encoding)
    signatures = [source.signature() for source in found.sources]
    notes = list(found.notes)
    digest = hashlib.sha256(f"{level}\0{encoding if level == 'char' else ''}\0".encode())
    num_bytes = num_chars = 0
    for source in found.sources:
        for chunk in source.chunks():
            digest.update(chunk)
            num_bytes += len(chunk)
            if level == "byte":
                num_chars += Vocab.bytes().measure(np.frombuffer(chunk, np.uint8))[0]
    if level == "byte":
        vocab = Vocab.bytes()
    elif vocab is None:
        vocab = _vocab_of(found.sources, encoding)
    if num_bytes <= IN_MEMORY_BYTES:
        ids = np.concatenate([np.zeros(0, vocab.dtype), *_encoded(found.sources, vocab, encoding)])
        ids.flags.writeable = False
    else:
        directory = cache_dir if cache_dir is not None else cache_directory()
        ids, is_cached = _mapped(found.sources, vocab, encoding, digest.hexdigest(), directory)
        if not is_cached:
            notes.append(f"the cache {str(directory)!r} cannot be used: the encoded text is in a temporary file")
    # A file that grew between two readings would be kept under the fingerprint of another content.
    for source, signature in zip(found.sources, signatures, strict=True):
        if source.signature() != signature:
            raise InputError(f"{source.name!r} changed while it was read; try again when nothing writes to it")
    if len(ids) < 2:
        raise InputError(f"the text has {len(ids)} symbols; at least 2 are needed: one to read, one to predict")
    names = tuple(source.path.name if source.path is not None else source.name for source in found.sources)
    num_chars = num_chars if level == "byte" else len(ids)
    return Corpus(ids, vocab, digest.hexdigest(), num_bytes, num_chars, names, tuple(notes))


def vocabulary_of(paths: Sequence[str | Path], *, encoding: str = "utf-8") -> Vocab:
    """The characters of the texts that ``paths`` name."""
    return _vocab_of(find_sources(paths, level="char", encoding=encoding).sources, encoding)


def encode_source(source: Source, vocab: Vocab, *, encoding: str = "utf-8", unknown: str = "error") -> Encoded:
    """A text by itself, ready to be scored.

    Args:
        source: where it comes from.
        vocab: the model's symbols.
        encoding: of the text; unused for a vocabulary of bytes.
        unknown: "error", or "skip" to leave unknown characters out and count them.

    Raises:
        InputError: the text cannot be read.
        UnknownCharacterError: a character is unknown and ``unknown`` is "error"; names file, line and column.
    """
    parts: list[NDArray[Any]] = [np.zeros(0, vocab.dtype)]
    num_unknown = 0
    if vocab.level == "byte" or unknown == "error":
        parts += _encoded([source], vocab, encoding)
    else:
        for text in source.texts(encoding):
            ids, known = vocab.encode_points(code_points(text))
            num_unknown += int(np.count_nonzero(~known))
            parts.append(ids[known])
    return Encoded(source.name, np.concatenate(parts), num_unknown)


def split(ids: NDArray[Any], fraction: float) -> Split:
    """Views of the first part, to learn from, and the last, held out.

    The held-out part has at least two symbols (one prediction). A text of fewer than 20 symbols is too short to
    give any away: both parts are the whole of it.

    >>> train, held_out, _ = split(np.arange(100), 0.1)
    >>> len(train), held_out[0]
    (90, np.int64(90))
    """
    if len(ids) < LEAST_HELD_OUT_TEXT:
        return Split(ids, ids, True)
    begin = min(max(int(len(ids) * (1 - fraction)), 2), len(ids) - 2)
    return Split(ids[:begin], ids[begin:], False)


def _vocab_of(sources: Sequence[Source], encoding: str) -> Vocab:
    seen = np.zeros(0x110000, np.bool_)
    for source in sources:
        for text in source.texts(encoding):
            seen[code_points(text)] = True
    points = np.flatnonzero(seen)
    if not len(points):
        raise InputError("the text is empty; at least 2 symbols are needed: one to read, one to predict")
    return Vocab.of_points(points.astype(np.uint32))


def _encoded(sources: Sequence[Source], vocab: Vocab, encoding: str) -> Iterator[NDArray[Any]]:
    for source in sources:
        if vocab.level == "byte":
            for chunk in source.chunks():
                yield np.frombuffer(chunk, np.uint8)
            continue
        line, column = 1, 1
        for text in source.texts(encoding):
            ids, known = vocab.encode_points(code_points(text))
            if not known.all():
                unknown = np.flatnonzero(~known)
                first = int(unknown[0])
                line, column = _advanced(line, column, text[:first])
                chars = "".join(dict.fromkeys(text[i] for i in unknown[:1000]))
                raise UnknownCharacterError(
                    chars,
                    first,
                    where=f"the first in {source.name!r}, line {line}, column {column}",
                    remedy="leave them out with `unknown=skip`, or use a model that knows them "
                    "(one of bytes, `level=byte`, knows every text)",
                )
            line, column = _advanced(line, column, text)
            yield ids


def _advanced(line: int, column: int, text: str) -> tuple[int, int]:
    newlines = text.count("\n")
    return line + newlines, len(text) - text.rfind("\n") if newlines else column + len(text)


def _mapped(
    sources: Sequence[Source], vocab: Vocab, encoding: str, fingerprint: str, directory: Path
) -> tuple[NDArray[Any], bool]:
    """Ids mapped from the cache's file for this content and vocabulary, made first if it is not there whole.

    Where the cache cannot be written, they come from an unnamed temporary file, and the second value is False.
    """
    key = hashlib.sha256(f"{fingerprint}\0{vocab.level}\0{vocab.symbols}".encode("utf-8", "surrogatepass")).hexdigest()
    try:
        return cached_ids(key[:32], vocab.dtype, lambda: _encoded(sources, vocab, encoding), directory), True
    except OSError as cache_error:
        try:
            with tempfile.TemporaryFile() as file:
                for ids in _encoded(sources, vocab, encoding):
                    file.write(ids.data)
                file.flush()
                return np.memmap(file, vocab.dtype, "r"), False
        except OSError as error:
            raise OutputError(
                f"cannot keep the encoded text, neither in {str(directory)!r} ({cache_error.strerror}) nor in "
                f"{tempfile.gettempdir()!r} ({error.strerror}); it needs as many bytes as the text has characters "
                f"(times the id's size): free some, or set CHARRNN_CACHE to a directory with room"
            ) from error
