"""Counts of contexts by the C kernel ``counts.c``.

Legend: V symbols, B streams, T steps, M matches.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.machine import num_cores
from charrnn.models.counts.settings import MIN_LENGTHS, NUM_MATCHES, weight_shapes
from charrnn.models.counts.tables import CONSTANTS, READER, Constants, Learn, Tables
from charrnn.models.native.kernel import library_functions

Array = NDArray[Any]

_WEIGHTS = tuple(weight_shapes(2))
_CONSTANTS = tuple(Constants.__dataclass_fields__)
_NO_MEMORY = 1


class _Weights(ctypes.Structure):
    """Mirrors ``CountWeights`` in counts.c."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in _WEIGHTS)


class _Counts(ctypes.Structure):
    """Mirrors ``Counts`` in counts.c."""

    num_text: int

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("V", "num_lines", "num_places", "num_text", "text_space")),
        ("min_lengths", ctypes.c_int64 * NUM_MATCHES),
        *((name, ctypes.c_void_p) for name in ("lines", "text")),
        ("places", ctypes.c_void_p * NUM_MATCHES),
        *((name, ctypes.c_void_p) for name in ("cuts", "classes")),
        ("weights", _Weights),
        *((name, ctypes.c_void_p) for name in _CONSTANTS),
    )


class _Reading(ctypes.Structure):
    """Mirrors ``Reading`` in counts.c."""

    _fields_ = (
        ("counts", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("T", "B", "learn", "num_threads")),
        *((name, ctypes.c_void_p) for name in ("readers", "ids", "targets", "nats", "logits")),
    )


def read(
    tables: Tables,
    readers: Array,
    ids: Array,
    *,
    targets: Array | None = None,
    logits: bool = False,
    learn: Learn = Learn.NOTHING,
    num_threads: int | None = None,
) -> tuple[Array, Array]:
    """Reads symbols, and predicts what follows them.

    Args:
        tables: the model; it changes where it learns.
        readers: (B,) of ``READER``, what is remembered of each stream; they move on.
        ids: (T, B) read.
        targets: (T, B) of which the probability is asked, each after ``ids[:t + 1]``; None: none.
        logits: whether to give the distribution of what follows the last ids.
        learn: from each symbol that is read, after it was predicted; one stream alone can be learned from.
        num_threads: none: as many as there are cores; more than two are of no use. The numbers do not depend on it.

    Returns:
        -ln p(targets) (T, B), or (0, B); ln p of every symbol (B, V), or (0, V); both float64.

    Raises:
        RuntimeError: there are no kernels.
        MemoryError: there is none left.
        InputError: an id is not one of the symbols.
    """
    calls = library_functions()
    ids = np.ascontiguousarray(ids, np.int64)
    num_steps, num_streams = ids.shape
    if readers.dtype != READER or readers.dtype.itemsize != calls.charrnn_counts_reader_bytes():
        raise TypeError("what is remembered of streams must be READER, as counts.c has it")
    counts = _Counts(
        V=tables.num_symbols,
        num_lines=len(tables.lines),
        num_places=tables.places.shape[1],
        num_text=tables.num_text,
        text_space=len(tables.text),
        min_lengths=(ctypes.c_int64 * NUM_MATCHES)(*MIN_LENGTHS),
        lines=tables.lines.ctypes.data,
        text=tables.text.ctypes.data,
        places=(ctypes.c_void_p * NUM_MATCHES)(*(row.ctypes.data for row in tables.places)),
        cuts=tables.cuts.ctypes.data,
        classes=tables.classes.ctypes.data,
        weights=_Weights(*(tables.weights[name].ctypes.data for name in _WEIGHTS)),
        **{name: getattr(CONSTANTS, name).ctypes.data for name in _CONSTANTS},
    )
    nats = np.zeros(ids.shape if targets is not None else (0, num_streams))
    found = np.zeros((num_streams if logits else 0, tables.num_symbols))
    targets = None if targets is None else np.ascontiguousarray(targets, np.int64)
    reading = _Reading(
        counts=ctypes.addressof(counts),
        T=num_steps,
        B=num_streams,
        learn=int(learn),
        num_threads=num_cores() if num_threads is None else num_threads,
        readers=readers.ctypes.data,
        ids=ids.ctypes.data,
        targets=None if targets is None else targets.ctypes.data,
        nats=nats.ctypes.data if targets is not None else None,
        logits=found.ctypes.data if logits else None,
    )
    failed = calls.charrnn_counts_read(ctypes.byref(reading))
    if failed == _NO_MEMORY:
        raise MemoryError
    if failed:
        raise InputError(f"an id is not one of the {tables.num_symbols} symbols")
    tables.num_text = counts.num_text
    return nats, found
