"""Encoded texts on disk: kept by content, checked before use, bounded.

A file holds ids as they lie in memory and then the SHA-256 of these bytes. What does not match is made again: a
cache may save work, never change a result.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.files import remove_stale, replacing

MAX_CACHE_BYTES = 16 << 30
"""What the cache keeps at most beside the newest text; the least recently used go first."""

_CHUNK_BYTES = 1 << 22
_DIGEST_BYTES = 32
# What earlier versions left: lengths in files of their own, and the temporary files of killed processes.
_OLD_MARK = re.compile(r"[0-9a-f]{32}\.count")
_OLD_SECONDS = 3600.0  # a younger one may belong to a process of an earlier version
_OLD_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.ids\..{8}")


def cache_directory() -> Path:
    """Where encoded texts are kept: below ``CHARRNN_CACHE``, or in the user's cache."""
    chosen = os.environ.get("CHARRNN_CACHE")
    if chosen:
        return Path(chosen) / "corpora"
    from platformdirs import user_cache_path

    return user_cache_path("charrnn") / "corpora"


def cached_ids(
    key: str, dtype: np.dtype[Any], encode: Callable[[], Iterable[NDArray[Any]]], directory: Path
) -> NDArray[Any]:
    """Ids mapped from the cache's file of that key, made first if it is not there whole.

    Args:
        key: names text and vocabulary; letters and digits.
        dtype: of the ids.
        encode: gives the ids in pieces.
        directory: of the cache; made if missing.

    Raises:
        OSError: the cache cannot be used.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{key}.ids"
    if not _is_whole(path):
        digest = hashlib.sha256()
        with replacing(path) as file:
            for ids in encode():
                data = np.ascontiguousarray(ids, dtype).data.cast("B")
                digest.update(data)
                file.write(data)
            file.write(digest.digest())
        _tidy(directory, keep=path)
    with suppress(OSError):
        os.utime(path)  # used just now
    count = (path.stat().st_size - _DIGEST_BYTES) // dtype.itemsize
    return np.memmap(path, dtype, "r", shape=(count,))


def empty_cache(directory: Path) -> tuple[int, int]:
    """Removes all encoded texts and what killed processes left; gives the number of files and of bytes removed."""
    num_files = num_bytes = 0
    for path in [*_kept(directory), *_matching(directory, _OLD_MARK), *_matching(directory, _OLD_TEMPORARY)]:
        with suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            num_files, num_bytes = num_files + 1, num_bytes + size
    remove_stale(directory)
    return num_files, num_bytes


def _is_whole(path: Path) -> bool:
    """Whether the file's content matches the digest at its end."""
    try:
        with path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
            if left < 0:
                return False
            digest = hashlib.sha256()
            while left:
                data = file.read(min(left, _CHUNK_BYTES))
                if not data:
                    return False
                digest.update(data)
                left -= len(data)
            return file.read() == digest.digest()
    except OSError:
        return False


def _tidy(directory: Path, *, keep: Path) -> None:
    """Keeps the cache within its bound, and removes what earlier versions and killed processes left."""
    remove_stale(directory)
    with suppress(OSError):
        now = keep.stat().st_mtime  # by the file system's clock
        for path in _matching(directory, _OLD_MARK) + _matching(directory, _OLD_TEMPORARY):
            if now - path.stat().st_mtime >= _OLD_SECONDS:
                path.unlink()
    known = []
    for path in _kept(directory):
        with suppress(OSError):
            found = path.stat()
            known.append((found.st_mtime, found.st_size, path))
    total = sum(size for _, size, path in known if path != keep)
    for _, size, path in sorted(known):
        if total <= MAX_CACHE_BYTES:
            break
        if path != keep:
            with suppress(OSError):
                path.unlink()
                total -= size


def _kept(directory: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from directory.glob("*.ids")


def _matching(directory: Path, name: re.Pattern[str]) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if name.fullmatch(path.name)]
    except OSError:
        return []
