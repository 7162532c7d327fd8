"""What a model expected at each character of a text: surprisal, entropy, the most probable characters.

Legend: N characters, K expectations, V symbols.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import NonFiniteError
from charrnn.explaining.tracing import Activations, Trace, iterate_traces
from charrnn.explaining.unit import Unit
from charrnn.models.predictor import Predictor
from charrnn.text.vocab import Vocab

Array = NDArray[Any]

NUM_EXPECTED = 5


@dataclass(frozen=True)
class Reading:
    """What a model made of a text. The first character is given: its surprisal and entropy are 0.

    Where symbols are bytes, a character's surprisal is the sum of its bytes', and what was expected is its first byte.

    Attributes:
        nats: (N,) float64 -ln p of each character.
        entropy: (N,) float64 of what was expected in its place, in nats.
        expected: (N, K) ids of the most probable symbols in its place, the most probable first.
        probabilities: (N, K) of these.
        units: (N,) float32 after each character, by unit.
    """

    nats: NDArray[np.float64]
    entropy: NDArray[np.float64]
    expected: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    units: Mapping[Unit, NDArray[np.float32]]

    @property
    def num_chars(self) -> int:
        """N."""
        return len(self.nats)

    @property
    def nats_per_char(self) -> float:
        """The mean over all characters but the first, which is given; 0 where there is no other."""
        return float(self.nats[1:].mean()) if len(self.nats) > 1 else 0.0


def read(
    predictor: Predictor,
    ids: Array,
    vocab: Vocab,
    *,
    activations: Activations | None = None,
    units: Sequence[Unit] = (),
    when_read: Callable[[int], None] = lambda num_symbols: None,
) -> Reading:
    """Reads a text from its first symbol to its last, the state carried through: exact.

    Args:
        predictor: what reads.
        ids: (M,) symbols of the text, one or more.
        vocab: theirs.
        activations: of the network, where units are asked for.
        units: whose values are kept.
        when_read: is told how many symbols further it is.

    Raises:
        NonFiniteError: the model's numbers are not finite.
    """
    num_symbols = len(ids)
    kept = min(NUM_EXPECTED, predictor.num_symbols)
    nats, entropy = np.zeros(num_symbols), np.zeros(num_symbols)
    expected = np.zeros((num_symbols, kept), np.int64)
    probabilities = np.zeros((num_symbols, kept))
    values = {unit: np.empty(num_symbols, np.float32) for unit in units}
    for trace in iterate_traces(predictor, ids):
        if activations is not None and units:
            _keep_units(activations, trace, values)
        when_read(len(trace.ids))
        begin = trace.begin + 1  # logits are of the symbols one to the right
        end = min(begin + len(trace.ids), num_symbols)
        if begin == end:
            break
        log_p = _log_probabilities(trace.logits[: end - begin])
        p = np.exp(log_p)
        rows = np.arange(len(p))[:, None]
        nats[begin:end] = -log_p[rows[:, 0], np.asarray(ids[begin:end], np.int64)]
        entropy[begin:end] = -(p * np.where(p > 0, log_p, 0.0)).sum(axis=1)
        best = np.argpartition(p, -kept, axis=1)[:, -kept:]
        best = best[rows, np.argsort(-p[rows, best], axis=1, kind="stable")]
        expected[begin:end], probabilities[begin:end] = best, p[rows, best]
    if vocab.level == "byte":
        first = first_bytes(ids)
        last = np.append(first[1:], num_symbols) - 1
        nats, entropy = np.add.reduceat(nats, first), entropy[first]
        expected, probabilities = expected[first], probabilities[first]
        values = {unit: each[last] for unit, each in values.items()}
    return Reading(nats, entropy, expected, probabilities, values)


def first_bytes(ids: Array) -> NDArray[np.intp]:
    """Indices of the bytes that begin a character; the first byte of a text counts as one."""
    is_first = (ids & 0xC0) != 0x80
    is_first[0] = True
    return np.flatnonzero(is_first)


def _log_probabilities(logits: Array) -> NDArray[np.float64]:
    """Rows of ln p, (T, V) float64."""
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    if np.isnan(found).any():
        raise NonFiniteError
    return found


def _keep_units(activations: Activations, trace: Trace, values: Mapping[Unit, Array]) -> None:
    rows = slice(trace.begin, trace.begin + len(trace.ids))
    for layer in {unit.layer for unit in values}:
        parts = activations.of_layer(trace, layer)
        for unit, kept in values.items():
            if unit.layer == layer:
                kept[rows] = parts[unit.part][:, unit.number]
