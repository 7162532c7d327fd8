"""Dynamic evaluation: a model that goes on learning from the text while it is scored.

Each segment is predicted with the weights as they are, and counted; then they take one step down its gradient and a
little of the way back to the trained ones. Nothing is predicted by weights that have seen it. The figure says how well
model and method together compress the text; it is not that of the model alone.

    g      = d (mean nats of the segment) / d w,  its norm held to 1
    w     <- w - learning_rate g + decay (w_trained - w)

Legend: T time steps of a segment, B = 1 stream, N symbols.

Source: Mikolov et al. 2010; Krause et al. 2018, without the gradients' statistics, which a model file does not keep.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.models.settings import ModelSettings
from charrnn.text.vocab import Vocab
from charrnn.units import ZERO_SCORE, Score

Array = NDArray[Any]


@dataclass(frozen=True)
class DynamicSettings:
    """How a model learns while it is scored.

    Attributes:
        segment: symbols between two steps.
        learning_rate: of a step down the clipped gradient.
        decay: share of the way back to the trained weights after each step.
    """

    segment: int = 16
    learning_rate: float = 0.3
    decay: float = 0.002


def score_dynamic(
    settings: ModelSettings,
    weights: Mapping[str, Array],
    ids: Array,
    *,
    vocab: Vocab,
    dynamic: DynamicSettings | None = None,
) -> Score:
    """The score of a text by a model that learns from what it has just predicted.

    Args:
        settings: shape of the model.
        weights: float32, by the names of ``settings.parameter_shapes()``; left as they are.
        ids: (N,) symbols; the first is given, so there are N - 1 predictions.
        vocab: their vocabulary.
        dynamic: segment and rates.

    Raises:
        InputError: a probability is not a number above 0.
    """
    import torch
    from torch.nn import functional as F

    from charrnn.models.char_rnn import CharRNN
    from charrnn.models.native.build import library
    from charrnn.models.recurrence import Backend

    dynamic = dynamic or DynamicSettings()
    # One stream gives a second thread nothing to do.
    model = CharRNN(settings, Backend("native" if library() is not None else "fused"))
    model.set_weights({name: torch.from_numpy(weight.copy()) for name, weight in weights.items()})
    model.eval()
    learned = list(model.weights().values())
    trained = [weight.detach().clone() for weight in learned]
    state = model.zero_state(1)
    nats = nats_squared = 0.0
    for begin in range(0, len(ids) - 1, dynamic.segment):
        symbols = np.asarray(ids[begin : begin + dynamic.segment + 1], np.int64)
        inputs = torch.from_numpy(symbols[:-1, None])  # (T, 1)
        logits, after = model(inputs, state.detach())
        losses = F.cross_entropy(logits[:, 0].double(), torch.from_numpy(symbols[1:]), reduction="none")  # (T,)
        each = losses.detach().numpy()
        nats += float(each.sum())
        nats_squared += float(np.square(each).sum())
        gradients = torch.autograd.grad(losses.mean(), learned)
        with torch.no_grad():
            norm = torch.nn.utils.get_total_norm(gradients)
            if not torch.isfinite(norm):
                raise InputError("the model gives probabilities that are not numbers above 0; it cannot score a text")
            rate = dynamic.learning_rate / max(1.0, float(norm))
            torch._foreach_add_(learned, list(gradients), alpha=-rate)
            torch._foreach_lerp_(learned, trained, dynamic.decay)
        state = after
    num_chars, num_bytes = vocab.measure(ids[1:])
    return ZERO_SCORE + Score(
        nats=nats,
        nats_squared=nats_squared,
        num_predictions=max(len(ids) - 1, 0),
        num_chars=num_chars,
        num_bytes=num_bytes,
    )
