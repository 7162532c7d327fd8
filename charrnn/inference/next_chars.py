"""The characters that a model holds most likely to come next."""

import heapq
from typing import Any, NamedTuple

import numpy as np

from charrnn.errors import NonFiniteError
from charrnn.inference.generation import read_prompt, start_text
from charrnn.models.predictor import Predictor
from charrnn.text.utf8 import ALLOWED, START, TRANSITIONS
from charrnn.text.vocab import Vocab


class NextChar(NamedTuple):
    """A character that may come next.

    Attributes:
        char: the character, a whole one also where symbols are bytes.
        probability: the model's own, at temperature 1.
    """

    char: str
    probability: float


def most_likely(predictor: Predictor, vocab: Vocab, text: str, *, count: int) -> list[NextChar]:
    """The characters most likely to follow a text, the most likely first.

    Where symbols are bytes, a character's probability is the product of those of its bytes, and bytes that cannot
    continue UTF-8 count as impossible. The most probable beginning is gone on with first, so that no character is
    passed over, and few are looked at.

    Args:
        predictor: the model.
        vocab: its vocabulary.
        text: what came before; "" stands for ``start_text(vocab)``.
        count: how many are wanted; there are fewer where the vocabulary is smaller.

    Raises:
        UnknownCharacterError: the text has characters that the vocabulary lacks.
        NonFiniteError: the model's probabilities are not finite.
    """
    ids, state = read_prompt(predictor, vocab.encode(text or start_text(vocab)), 1)
    if vocab.level == "char":
        found, _ = _next_symbols(predictor, int(ids[0]), state, None)
        best = np.argsort(-found, kind="stable")[:count]
        return [NextChar(vocab.symbols[index], float(found[index])) for index in best]
    return _most_likely_of_bytes(predictor, int(ids[0]), state, count)


def _most_likely_of_bytes(predictor: Predictor, symbol: int, state: Any, count: int) -> list[NextChar]:  # noqa: ANN401
    found: list[NextChar] = []
    # Beginnings of characters: the most probable first, and of equal ones the lower bytes.
    waiting: list[tuple[float, bytes, int, Any]] = [(-1.0, b"", START, (symbol, state))]
    while waiting and len(found) < count:
        negative, begun, mark, (last, before) = heapq.heappop(waiting)
        if begun and mark == START:
            found.append(NextChar(begun.decode(), -negative))
            continue
        shares, after = _next_symbols(predictor, last, before, ALLOWED[mark])
        for byte in np.flatnonzero(shares > 0):
            entry = (negative * float(shares[byte]), begun + bytes([byte]), int(TRANSITIONS[mark, byte]))
            heapq.heappush(waiting, (*entry, (int(byte), after)))
    return found


def _next_symbols(predictor: Predictor, symbol: int, state: Any, allowed: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Probabilities (V,) of the symbol after ``symbol``, and the state then."""
    logits, state = predictor.step(np.array([symbol]), state)
    z = logits[0].astype(np.float64)
    if np.isnan(z).any() or not np.isfinite(z.max()):
        raise NonFiniteError
    shares = np.exp(z - z.max())
    if allowed is not None:
        shares = np.where(allowed, shares, 0.0)
    return shares / shares.sum(), state
