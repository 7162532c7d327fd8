"""The softmax temperature at which a model predicts a text best.

A model that has learned its text by heart is too sure of itself on other texts. Dividing all logits by one number
corrects that without training; the number is fitted on one text and used on another.

    p(k) = softmax(logits / temperature)_k

Source: Guo et al. 2017.
"""

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.inference.scoring import score_streams
from charrnn.models.open import open_network
from charrnn.models.settings import ModelSettings
from charrnn.text.vocab import Vocab

Array = NDArray[Any]

LOWEST, HIGHEST = 0.25, 4.0  # of temperatures tried
MAX_FITTED = 65_536  # symbols: a single number needs no more
_TOLERANCE = 1e-3  # of the temperature's logarithm; the loss is flat there to about its square
_GOLDEN = (math.sqrt(5) - 1) / 2
_NUM_STREAMS = 64


def with_temperature(weights: Mapping[str, Array], temperature: float) -> dict[str, Array]:
    """The weights of a model whose logits are those of ``weights`` divided by ``temperature``."""
    return {
        name: (weight / temperature).astype(weight.dtype) if name.startswith("output.") else weight
        for name, weight in weights.items()
    }


def fit_temperature(
    settings: ModelSettings, weights: Mapping[str, Array], ids: Array, *, vocab: Vocab, num_threads: int | None = None
) -> float:
    """The temperature from 1/4 to 4 that scores ``ids`` best, to a thousandth of itself; a bound itself at the bound.

    The loss as a function of 1/temperature is convex (a log-sum-exp less a linear term), so it has one lowest point
    and golden sections close in on it.

    Args:
        settings: shape of the model.
        weights: by the names of ``settings.parameter_shapes()``.
        ids: (N,) symbols of a text that is not the one to be scored; the first 65,536 are read.
        vocab: their vocabulary.
        num_threads: CPU threads; none: as many as there are cores.

    Raises:
        InputError: the text has fewer than two symbols.
    """
    ids = ids[:MAX_FITTED]
    if len(ids) < 2:
        raise InputError("the text to fit the temperature on needs at least two symbols that the model knows")

    def nats(log_temperature: float) -> float:
        tempered = with_temperature(weights, math.exp(log_temperature))
        predictor = open_network(settings, tempered, num_threads=num_threads)
        num_streams = max(1, min(_NUM_STREAMS, len(ids) // 1024))
        return score_streams(predictor, ids, vocab=vocab, num_streams=num_streams).nats

    low, high = math.log(LOWEST), math.log(HIGHEST)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = nats(left), nats(right)
    while high - low > _TOLERANCE:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = nats(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = nats(right)
    if low == math.log(LOWEST) or high == math.log(HIGHEST):
        return LOWEST if low == math.log(LOWEST) else HIGHEST
    return math.exp((low + high) / 2)
