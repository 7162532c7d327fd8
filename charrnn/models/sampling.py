"""How the next symbol is drawn from a model's logits.

Legend: B streams, V symbols.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import NonFiniteError
from charrnn.models.settings import SamplingSettings

Array = NDArray[Any]


def probabilities(logits: Array, sampling: SamplingSettings, *, allowed: Array | None = None) -> Array:
    """Weights the draw goes by: proportional to the probabilities after temperature, top-k, top-p and min-p.

    Args:
        logits: (B, V), of any float type.
        sampling: temperature above 0.
        allowed: (B, V) bool; where False the symbol is impossible.

    Returns:
        (B, V) float64, at least one positive in each row, not normalised.
    """
    z = logits.astype(np.float64)
    if allowed is not None:
        z[~allowed] = -np.inf
    # Subtracted first, divided after: a tiny temperature then sends all but the best to -inf, never to nan.
    with np.errstate(over="ignore", invalid="ignore"):
        z -= z.max(axis=1, keepdims=True)
        z /= sampling.temperature
    num_symbols = z.shape[1]
    if 0 < sampling.top_k < num_symbols:
        kth = np.partition(z, num_symbols - sampling.top_k, axis=1)[:, num_symbols - sampling.top_k, None]
        z[z < kth] = -np.inf
    p: Array = np.exp(z)
    if sampling.top_p < 1:
        order = np.argsort(-p, axis=1, kind="stable")
        ranked = np.take_along_axis(p, order, axis=1)
        before = np.cumsum(ranked, axis=1) - ranked
        before[:, 0] = 0.0
        # 1e-12 of slack: shares such as 0.5 + 0.3 must reach 0.8 although their float64 sum falls short of it.
        reached = before >= (sampling.top_p - 1e-12) * ranked.sum(axis=1, keepdims=True)
        reached[:, 0] = False
        np.put_along_axis(p, order, np.where(reached, 0.0, ranked), axis=1)
    if sampling.min_p > 0:
        p[p < sampling.min_p * p.max(axis=1, keepdims=True)] = 0.0
    return p


def choose(
    logits: Array, uniforms: Array, *, sampling: SamplingSettings, allowed: Array | None = None
) -> NDArray[np.intp]:
    """Next symbol of each stream: the distribution function's inverse, over ascending ids, at a uniform.

    Args:
        logits: (B, V).
        uniforms: (B,) numbers in [0, 1); unused at temperature 0, which takes the most probable symbol and of
            ties the lowest id.
        sampling: which symbols may be drawn.
        allowed: (B, V) bool; where False the symbol is impossible.

    Returns:
        (B,) ids.

    Raises:
        NonFiniteError: the logits are not finite.
    """
    if sampling.temperature == 0:
        z = logits if allowed is None else np.where(allowed, logits, -np.inf)
        best: NDArray[np.intp] = z.argmax(axis=1)
        _require_finite(float(z.max()))
        return best
    cumulative = np.cumsum(probabilities(logits, sampling, allowed=allowed), axis=1)
    total = cumulative[:, -1:]
    _require_finite(float(total.sum()))
    # A uniform just below 1 may round up to the total: `total` itself stands for the last symbol possible.
    below_total = np.minimum(uniforms[:, None] * total, np.nextafter(total, 0.0))
    drawn: NDArray[np.intp] = (cumulative <= below_total).sum(axis=1)
    return drawn


def _require_finite(value: float) -> None:
    if not math.isfinite(value):
        raise NonFiniteError
