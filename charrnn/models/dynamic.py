"""Dynamic evaluation: a network that goes on learning from the text it reads, as a predictor.

Each segment is predicted with the weights as they are; then they take one step down its gradient and a little of the
way back to the trained ones. Nothing is predicted by weights that have seen it. A score by it says how well model and
method together predict the text; it is not that of the model alone.

    g      = d (mean nats of the segment) / d w,  its norm at most 1
    w     <- w - learning_rate g + decay (w_trained - w)

Legend: T time steps, B = 1 stream, V symbols.

Source: Mikolov et al. 2010; Krause et al. 2018, without the gradients' statistics, which a model file does not keep.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from charrnn.errors import NonFiniteError
from charrnn.models.cells import State
from charrnn.models.layer import Backend
from charrnn.models.network import CharRNN
from charrnn.models.predictor import OneStreamState, Predictor, nats_of, require_one_stream
from charrnn.models.settings import DynamicSettings, ModelSettings

Array = NDArray[Any]


@dataclass(frozen=True)
class DynamicState(OneStreamState):
    """What a network under dynamic evaluation remembers of its one stream.

    Attributes:
        weights: as they have become.
        network: the network's state before the segment that is being read.
        segment: (n,) symbols read of it, fewer than the next update needs.
    """

    weights: tuple[Tensor, ...]
    network: State
    segment: NDArray[np.int64]


class DynamicNetwork(Predictor):
    """A network that learns from each segment it has read.

    Args:
        settings: shape of the model.
        weights: float32, by the names of ``settings.parameter_shapes()``; left as they are.
        dynamic: segment and rates.
    """

    def __init__(
        self, settings: ModelSettings, weights: Mapping[str, Array], dynamic: DynamicSettings | None = None
    ) -> None:
        self._dynamic = dynamic or DynamicSettings()
        self._network = CharRNN(settings, Backend("fused")).eval()
        self._network.set_weights({name: torch.tensor(weight) for name, weight in weights.items()})
        self._learned = list(self._network.weights().values())
        self._trained = tuple(weight.detach().clone() for weight in self._learned)

    @property
    def num_symbols(self) -> int:
        """V."""
        return self._network.settings.vocab_size

    def zero_state(self, num_streams: int) -> DynamicState:
        """The state at the start of a text: the trained weights.

        Raises:
            ValueError: there is not just one stream.
        """
        require_one_stream((num_streams,))
        return DynamicState(self._trained, self._network.zero_state(1), np.zeros(0, np.int64))

    def step(self, ids: Array, state: DynamicState) -> tuple[Array, DynamicState]:
        """Logits (1, V) of what follows ``ids`` (1,), and the state after reading them."""
        return self._read(ids, state)

    def score(self, ids: Array, targets: Array, state: DynamicState) -> tuple[Array, DynamicState]:
        """-ln p(targets[t]), (T, 1) float64, having read ``ids[:t + 1]`` (T, 1); and the state after all."""
        logits, state = self._read(ids[:, 0], state)
        return nats_of(logits, targets[:, 0])[:, None], state

    def _read(self, ids: Array, state: DynamicState) -> tuple[Array, DynamicState]:
        """Logits (T, V) after each of ``ids`` (T,), and the state after all."""
        with torch.no_grad():
            torch._foreach_copy_(self._learned, list(state.weights))
        before, segment = state.network, state.segment
        # Where the state stands at the end of a segment, the update waits for the symbol that follows it.
        logits, after = self._forward(segment, before) if len(segment) else (torch.empty(0), before)
        found = []
        at = 0
        while at < len(ids):
            if len(segment) == self._dynamic.segment:
                self._learn(logits, np.append(segment[1:], ids[at]))
                before, segment = after.map(Tensor.detach), segment[:0]
            num_new = min(self._dynamic.segment - len(segment), len(ids) - at)
            segment = np.concatenate([segment, ids[at : at + num_new]])
            logits, after = self._forward(segment, before)
            found.append(logits.detach()[len(segment) - num_new :].numpy())
            at += num_new
        weights = tuple(weight.detach().clone() for weight in self._learned)
        return np.concatenate(found), DynamicState(weights, before, segment)

    def _forward(self, segment: NDArray[np.int64], before: State) -> tuple[Tensor, State]:
        logits, after = self._network(torch.from_numpy(segment[:, None]), before)
        return logits[:, 0], after

    def _learn(self, logits: Tensor, targets: NDArray[np.int64]) -> None:
        loss = F.cross_entropy(logits.double(), torch.from_numpy(targets))
        gradients = torch.autograd.grad(loss, self._learned)
        with torch.no_grad():
            norm = torch.nn.utils.get_total_norm(gradients)
            if not torch.isfinite(norm):
                raise NonFiniteError
            rate = self._dynamic.learning_rate / max(1.0, float(norm))
            torch._foreach_add_(self._learned, list(gradients), alpha=-rate)
            torch._foreach_lerp_(self._learned, list(self._trained), self._dynamic.decay)
