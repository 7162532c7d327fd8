"""Tensors and facts in one safetensors file with its digest; reading trusts nothing.

A file is: 8 bytes header length, a JSON header, tensor data (the safetensors format). The header's metadata holds

    format   "charrnn"            kind     "model" or "training"       facts    JSON
    version  "2"                  digest   SHA-256 of the whole file with these 64 characters as zeros

so that a change of any byte is found. Reading checks form before size and size before allocation; nothing is executed.
Files of earlier versions are read too: ``upgrade.py`` makes their facts those of today.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from charrnn.errors import InputError, OutputError
from charrnn.storage.upgrade import VERSION

_VERSIONS = [str(number) for number in range(1, VERSION + 1)]
MAX_HEADER_BYTES = 16 << 20
MAX_FILE_BYTES = 64 << 30
MAX_DEPTH = 32
MAX_TENSORS = 4096
# Parsed JSON takes up to sixty times the memory of its text: these bound what a header may cost.
MAX_PARTS = 400_000  # brackets and quotes
MAX_COMMAS = 1_500_000  # a vocabulary has up to 1,114,112 symbols
_KINDS = ("model", "training")
_NO_DIGEST = "0" * 64
_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}
_NAMES = {"F32": "float32", "F64": "float64", "I64": "int64"}
_OTHERS = [
    (b"PK\x03\x04", "a zip archive, as torch.save writes"),
    (b"\x80", "a pickle"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a numpy array"),
]
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor lies: dtype ("float32", ...), shape, and its range of bytes in the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Container:
    """A file whose form and digest are right; its arrays are made on demand.

    Attributes:
        entries: tensors by name.
        facts: plain JSON values, as the version has them.
        version: of the format.
    """

    entries: dict[str, TensorEntry]
    facts: dict[str, Any]
    version: int
    _data: memoryview

    def array(self, name: str) -> NDArray[Any]:
        """A tensor, read-only: a view of the file's bytes where this processor can use them in place."""
        entry = self.entries[name]
        raw = np.frombuffer(self._data[entry.begin : entry.end], np.dtype(entry.dtype).newbyteorder("<"))
        return np.require(raw.astype(entry.dtype, copy=False), requirements="A").reshape(entry.shape)


def to_bytes(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], *, kind: str) -> bytes:
    """A container's bytes; the same tensors and facts give the same bytes.

    Args:
        tensors: arrays of float32, float64 or int64 by name.
        facts: JSON values; a float that is not finite becomes null.
        kind: "model" or "training".

    Raises:
        OutputError: the facts are more, or larger, than ``from_bytes`` would take: better no file than one that
            cannot be read.
    """
    for name, array in tensors.items():
        if array.dtype.name not in _NAMES.values():
            raise TypeError(f"{name} is {array.dtype}; a container holds {', '.join(_NAMES.values())}")
    metadata = {
        "format": "charrnn",
        "version": str(VERSION),
        "kind": kind,
        "facts": json.dumps(plain(facts), sort_keys=True, allow_nan=False, separators=(",", ":")),
        "digest": _NO_DIGEST,
    }
    data = bytearray(_ordered(save({name: np.asarray(a, order="C") for name, a in tensors.items()}, metadata)))
    where = _digest_position(data)
    data[where : where + 64] = hashlib.sha256(data).hexdigest().encode()
    whole = bytes(data)
    try:
        header, size = _parsed_header(whole, "the file")
        _parsed_json(header.pop("__metadata__")["facts"], "the file")
        _entries(header, len(whole) - 8 - size, "the file")
    except InputError as error:
        raise OutputError(
            "what is known of the run is too much, or has too large a number, for a file; train on fewer, larger files"
        ) from error
    return whole


def read_bytes(path: Path) -> bytes:
    """All of a regular file, into memory: a file that shrinks later can do no harm.

    Raises:
        InputError: it is missing, cannot be read, is not a regular file, or is larger than any model.
    """
    with _opened(path) as (file, num_bytes):
        return file.read(num_bytes)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file that begins as a container does, and how many bytes it has."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            num_bytes = _regular_size(descriptor, str(path))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                # What is not a container is refused by its first bytes, however large it is.
                _header_size(file.read(9), num_bytes, str(path))
                file.seek(0)
                yield file, num_bytes
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the path
        raise InputError(f"cannot read {str(path)!r}: {error}") from error
    except MemoryError as error:
        raise InputError(f"{str(path)!r} is larger than the memory left; free some, or use a smaller model") from error


def _regular_size(descriptor: int, name: str) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{name!r} is not a regular file; name a run or a model that charrnn train wrote")
    if status.st_size > MAX_FILE_BYTES:
        raise InputError(f"{name!r} has {status.st_size:,} bytes: too large for a model")
    return status.st_size


def read_facts(path: Path, *, kind: str) -> tuple[dict[str, Any], int]:
    """The facts of a file and its version, from its header alone.

    The header's form is checked, and that the file is as long as its tensors take; their bytes and the digest are not
    looked at, so that this takes no longer for a large model than for a small one.

    Args:
        path: of the file.
        kind: what it must be, "model" or "training".

    Raises:
        InputError: it cannot be read, is cut short, or is not one of charrnn's of this kind.
    """
    name = str(path)
    with _opened(path) as (file, num_bytes):
        size = _header_size(file.read(9), num_bytes, name)
        file.seek(8)
        text = file.read(size)
    header = _parsed_json(text, name)
    metadata = _metadata(header, name)
    _entries(header, num_bytes - 8 - size, name)
    return _facts(metadata, name, kind=kind), int(metadata["version"])


def from_bytes(data: bytes, *, kind: str, name: str) -> Container:
    """The container in ``data``, its form and digest checked.

    Args:
        data: a whole file.
        kind: what it must be, "model" or "training".
        name: what to call it in messages.

    Raises:
        InputError: it is not whole, not as it was written, or not charrnn's.
    """
    header, size = _parsed_header(data, name)
    metadata = _metadata(header, name)
    digest = metadata["digest"]
    where = data.find(digest.encode(), 8, 8 + size) if isinstance(digest, str) and len(digest) == 64 else -1
    if where < 0:
        raise _damaged(name, "it has no digest")
    sha = hashlib.sha256(data[:where])
    sha.update(_NO_DIGEST.encode())
    sha.update(memoryview(data)[where + 64 :])
    if sha.hexdigest() != digest:
        raise _damaged(name, "its digest does not match its content")
    facts = _facts(metadata, name, kind=kind)
    entries = _entries(header, len(data) - 8 - size, name)
    return Container(entries, facts, int(metadata["version"]), memoryview(data)[8 + size :])


def _metadata(header: dict[str, Any], name: str) -> dict[str, Any]:
    """What a header says of the whole file, taken out of it."""
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.get("format") != "charrnn":
        raise InputError(f"{name!r} is a safetensors file, but not one of charrnn's")
    version = metadata.get("version")
    if not isinstance(version, str) or version not in _VERSIONS:
        shown = version[:10] if isinstance(version, str) and version.isascii() and version.isdigit() else "unknown"
        raise InputError(f"{name!r} has format {shown}; this charrnn reads formats 1 to {VERSION}: upgrade charrnn")
    if set(metadata) != {"format", "version", "kind", "facts", "digest"}:
        raise _damaged(name, "its metadata is incomplete")
    return metadata


def _facts(metadata: Mapping[str, Any], name: str, *, kind: str) -> dict[str, Any]:
    found = metadata["kind"]
    if found not in _KINDS:
        raise _damaged(name, "it is of no known kind")
    if found != kind:
        raise InputError(f"{name!r} is a {found} file, where a {kind} file is needed")
    # Names that are not UTF-8 were once stored as halves of characters.
    facts: dict[str, Any] = plain(_parsed_json(metadata["facts"], name, allows_halves=metadata["version"] == "1"))
    return facts


def check_entries(found: Mapping[str, TensorEntry], expected: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
    """Makes sure that tensors are just those expected.

    Args:
        found: tensors of a container.
        expected: (dtype, shape) by name.

    Raises:
        InputError: they are not; names the first five differences.
    """
    differences = [f"{name} is missing" for name in expected if name not in found]
    for name, entry in found.items():
        if name not in expected:
            differences.append(f"{name[:60]!a} is not part of it")
        elif (entry.dtype, entry.shape) != expected[name]:
            dtype, shape = expected[name]
            differences.append(f"{name} is {entry.dtype} {list(entry.shape)}, not {dtype} {list(shape)}")
    if differences:
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise InputError("; ".join(differences[:5]) + more)


def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """``value`` without what strict JSON cannot hold.

    Floats that are not finite become null; halves of characters, as in file names that are not UTF-8, become
    escapes.

    >>> plain({"loss": float("nan"), "names": ("caf\\udce9",)})
    {'loss': None, 'names': ['caf\\\\udce9']}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {plain(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def _header_size(start: bytes, num_bytes: int, name: str) -> int:
    """Bytes of the JSON header of a file of ``num_bytes`` that begins with ``start`` (9 bytes or more)."""
    for magic, what in _OTHERS:
        if start.startswith(magic) and start[8:9] != b"{":
            raise InputError(f"{name!r} is {what}; charrnn reads its own safetensors files alone and never unpickles")
    if len(start) < 9:
        raise _damaged(name, f"it has only {num_bytes:,} bytes")
    if start[8:9] != b"{":
        raise InputError(f"{name!r} is not a safetensors file; name a run or a model that charrnn train wrote")
    size = int.from_bytes(start[:8], "little")
    if size > MAX_HEADER_BYTES or size > num_bytes - 8:
        raise _damaged(name, f"its header claims {size:,} bytes of a file of {num_bytes:,}")
    return size


def _parsed_header(data: bytes, name: str) -> tuple[dict[str, Any], int]:
    size = _header_size(data[:9], len(data), name)
    return _parsed_json(data[8 : 8 + size], name), size


def _parsed_json(text: object, name: str, *, allows_halves: bool = False) -> dict[str, Any]:
    """A JSON object, read strictly: bounded depth and size, no duplicate key, NaN, huge integer or lone surrogate.

    It is ASCII, as ``to_bytes`` writes it, so that its text takes no more memory than its bytes.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("ascii")
        if not isinstance(text, str) or not text.isascii():
            raise TypeError("not ASCII text")
        _check_parts(text)
        value = json.loads(
            text,
            object_pairs_hook=_distinct,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_small_int,
        )
        if not allows_halves and _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a pair fails here
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).split("\n")[0][:80]
        raise _damaged(name, f"its header is not plain JSON ({reason!a})") from error
    if not isinstance(value, dict):
        raise _damaged(name, "its header is not a JSON object")
    return value


def _check_parts(text: str) -> None:
    """Refuses what would be deep or large once parsed, before it is."""
    if sum(map(text.count, '[{"')) > MAX_PARTS or text.count(",") > MAX_COMMAS:
        raise ValueError("too many values")
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        char = text[token.start()]
        if char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("nested too deep")
        elif char in "]}":
            depth -= 1


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _small_int(text: str) -> int:
    value = int(text) if len(text) <= 20 else 1 << 63
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError("an integer is too large")
    return value


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _entries(header: Mapping[str, Any], num_bytes: int, name: str) -> dict[str, TensorEntry]:
    """Tensors whose dtypes, shapes and ranges fit together and fill the data without a gap."""
    if len(header) > MAX_TENSORS:
        raise _damaged(name, f"it lists {len(header):,} tensors")
    entries = {}
    for tensor, fields in header.items():
        if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
            raise _damaged(name, f"tensor {tensor[:60]!a} is not described")
        dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
        known = isinstance(dtype, str) and dtype in _DTYPES
        if not known or not _are_counts(shape) or not _are_counts(offsets) or len(shape) > 8 or len(offsets) != 2:
            raise _damaged(name, f"tensor {tensor[:60]!a} has an unusable type or shape")
        size = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
        # A shape with a zero in it has no bytes, whatever else it claims, which no array may exceed.
        if math.prod(n for n in shape if n) > MAX_FILE_BYTES or offsets[1] - offsets[0] != size:
            raise _damaged(name, f"tensor {tensor[:60]!a} does not have the size of its shape")
        entries[tensor] = TensorEntry(_NAMES[dtype], tuple(shape), offsets[0], offsets[1])
    at = 0
    for entry in sorted(entries.values(), key=lambda e: (e.begin, e.end)):
        if entry.begin != at:
            raise _damaged(name, "its tensors overlap or leave gaps")
        at = entry.end
    if at != num_bytes:
        raise _damaged(name, f"it has {num_bytes:,} bytes of data where its tensors take {at:,}")
    return entries


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in values)


def _damaged(name: str, why: str) -> InputError:
    return InputError(f"{name!r} is damaged or not a file of charrnn's: {why}; restore a copy or train again")


def _ordered(data: bytes) -> bytes:
    """The same file with its metadata in a fixed order: the library's own order differs from run to run."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _digest_position(data: bytearray) -> int:
    """The position of the digest's zeros: at the metadata's key, which no quoted text can imitate."""
    mark = f'"digest":"{_NO_DIGEST}"'.encode()
    return data.index(mark) + len(b'"digest":"')
