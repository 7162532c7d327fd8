"""Tensors and facts in one safetensors file with a digest of its own; read with nothing taken on trust.

A file is: 8 bytes header length, a JSON header, tensor data (the safetensors format). The header's metadata holds

    format   "charrnn"            kind     "model" or "training"       facts    JSON
    version  "1"                  digest   SHA-256 of the whole file with these 64 characters as zeros

so that a change of any byte shows. Reading checks form before size and size before allocation; nothing is executed.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from charrnn.errors import InputError

VERSION = 1
MAX_HEADER_BYTES = 16 << 20
MAX_FILE_BYTES = 64 << 30
MAX_DEPTH = 32
MAX_TENSORS = 4096
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
        facts: plain JSON values.
    """

    entries: dict[str, TensorEntry]
    facts: dict[str, Any]
    _data: memoryview

    def array(self, name: str) -> NDArray[Any]:
        """A tensor, as an array of its own."""
        entry = self.entries[name]
        raw = np.frombuffer(self._data[entry.begin : entry.end], np.dtype(entry.dtype).newbyteorder("<"))
        return raw.astype(entry.dtype).reshape(entry.shape)


def to_bytes(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], *, kind: str) -> bytes:
    """A container's bytes; the same tensors and facts give the same bytes.

    Args:
        tensors: arrays of float32, float64 or int64 by name.
        facts: JSON values; a float that is not finite becomes null.
        kind: "model" or "training".
    """
    metadata = {
        "format": "charrnn",
        "version": str(VERSION),
        "kind": kind,
        "facts": json.dumps(_finite(facts), sort_keys=True, allow_nan=False, separators=(",", ":")),
        "digest": _NO_DIGEST,
    }
    data = bytearray(_ordered(save({name: np.asarray(a, order="C") for name, a in tensors.items()}, metadata)))
    where = _digest_position(data)
    data[where : where + 64] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def read_bytes(path: Path) -> bytes:
    """All of a regular file, into memory: a file that shrinks later can do no harm.

    Raises:
        InputError: it is missing, unreadable, no regular file, or larger than any model.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{str(path)!r} is no regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise InputError(f"{str(path)!r} has {status.st_size:,} bytes: too large for a model")
            return file.read(status.st_size)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


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
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.get("format") != "charrnn":
        raise InputError(f"{name!r} is a safetensors file, but not one of charrnn's")
    version = metadata.get("version")
    if version != str(VERSION):
        shown = version if isinstance(version, str) and version.isascii() and version.isdigit() else "unknown"
        raise InputError(f"{name!r} has format {shown[:10]}; this charrnn reads format {VERSION}: upgrade charrnn")
    if set(metadata) != {"format", "version", "kind", "facts", "digest"}:
        raise _damaged(name, "its metadata is incomplete")
    digest = metadata["digest"]
    where = data.find(digest.encode(), 8, 8 + size) if isinstance(digest, str) and len(digest) == 64 else -1
    if where < 0:
        raise _damaged(name, "it has no digest")
    sha = hashlib.sha256(data[:where])
    sha.update(_NO_DIGEST.encode())
    sha.update(memoryview(data)[where + 64 :])
    if sha.hexdigest() != digest:
        raise _damaged(name, "its digest does not match its content")
    if metadata["kind"] != kind:
        raise InputError(f"{name!r} holds a {metadata['kind']} file, not a {kind} file")
    facts = _parsed_json(metadata["facts"], name)
    return Container(_entries(header, len(data) - 8 - size, name), facts, memoryview(data)[8 + size :])


def _parsed_header(data: bytes, name: str) -> tuple[dict[str, Any], int]:
    for magic, what in _OTHERS:
        if data.startswith(magic) and data[8:9] != b"{":
            raise InputError(f"{name!r} is {what}; charrnn reads its own safetensors files alone and never unpickles")
    if len(data) < 8:
        raise _damaged(name, f"it has only {len(data)} bytes")
    size = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{":
        raise InputError(f"{name!r} is no safetensors file; name a run or a model that charrnn train wrote")
    if size > MAX_HEADER_BYTES or size > len(data) - 8:
        raise _damaged(name, f"its header claims {size:,} bytes of a file of {len(data):,}")
    return _parsed_json(data[8 : 8 + size], name), size


def _parsed_json(text: object, name: str) -> dict[str, Any]:
    """A JSON object, read strictly: bounded depth, no duplicate key, no NaN, no lone surrogate."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if not isinstance(text, str):
            raise TypeError("not text")
        _check_depth(text)
        value = json.loads(
            text, object_pairs_hook=_distinct, parse_constant=_refuse_constant, parse_float=_finite_float
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate fails here
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).split("\n")[0][:80]
        raise _damaged(name, f"its header is not plain JSON ({reason!a})") from error
    if not isinstance(value, dict):
        raise _damaged(name, "its header is no JSON object")
    return value


def _check_depth(text: str) -> None:
    depth, in_string, escaped = 0, False, False
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("nested too deep")
        elif char in "]}":
            depth -= 1


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


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
        if dtype not in _DTYPES or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
            raise _damaged(name, f"tensor {tensor[:60]!a} has an unusable type or shape")
        size = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
        # A shape with a zero in it has no bytes, whatever else it claims; arrays index no more than 2^63 - 1.
        if max(shape, default=0) > num_bytes + (1 << 32) or len(shape) > 8 or offsets[1] - offsets[0] != size:
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
    return InputError(f"{name!r} is damaged or no charrnn file: {why}; restore a copy or train again")


def _ordered(data: bytes) -> bytes:
    """The same file with its metadata in a fixed order: the library's own order differs from run to run."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _digest_position(data: bytearray) -> int:
    """Where the digest's zeros stand: at the metadata's key, which no quoted text can imitate."""
    mark = f'"digest":"{_NO_DIGEST}"'.encode()
    return data.index(mark) + len(b'"digest":"')


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """``value`` with floats that are not finite made null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
