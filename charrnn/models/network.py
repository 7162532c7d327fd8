"""The network: ids and a state in, logits and a state out. Read it from the top.

Legend: T time steps, B streams, E embedding, H hidden units, L layers, V vocabulary.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from charrnn.models.cells import State
from charrnn.models.dropout import dropout
from charrnn.models.layer import Backend, RecurrentLayer, project
from charrnn.models.recurrent import RecurrentPredictor
from charrnn.models.settings import ModelSettings

# At most this many logits and rows (steps x streams) are held while scoring, whatever T, B and V are.
_LOGITS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 1 << 15


class CharRNN(nn.Module):
    """A stack of recurrent layers between a symbol's row of input weights and a softmax over symbols.

    Args:
        settings: the network's shape.
        backend: how the recurrence is computed; changes speed, not numbers (within rounding).
        dropout: share of each layer's outputs dropped in training, 0 <= dropout < 1.
        weight_dropout: share of each layer's recurrent weights dropped in training, drawn anew for every window
            (Wan et al. 2013; Merity et al. 2018).
    """

    def __init__(
        self, settings: ModelSettings, backend: Backend, *, dropout: float = 0.0, weight_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.settings = settings
        self.backend = backend
        self.dropout = dropout
        width = settings.vocab_size
        self.embedding: nn.Embedding | None = None
        if settings.input == "embedding":
            width = settings.embedding_size
            self.embedding = nn.Embedding(settings.vocab_size, width)
        self.layers = nn.ModuleList()
        for _ in range(settings.num_layers):
            self.layers.append(RecurrentLayer(settings, width, weight_dropout=weight_dropout))
            width = settings.hidden_size
        self.output = nn.Linear(width, settings.vocab_size, bias=settings.bias)

    def zero_state(self, num_streams: int) -> State:
        """The state before any text: zeros, on the weights' device."""
        like = self.output.weight
        return self.settings.zero_state(
            num_streams, lambda shape: torch.zeros(shape, device=like.device, dtype=like.dtype)
        )

    def forward(self, ids: Tensor, state: State, *, noise: int = 0) -> tuple[Tensor, State]:
        """Logits of each next symbol.

        Args:
            ids: (T, B) int64, the symbols read.
            state: the state before the first of them.
            noise: decides in training what is dropped; 2 * L numbers from this one on are used up.

        Returns:
            logits (T, B, V) and the state after the last symbol.
        """
        outputs, state = self._outputs(ids, state, noise)
        return project(outputs, self.output.weight, self.output.bias, self.backend), state

    def loss(self, ids: Tensor, targets: Tensor, state: State, *, noise: int = 0) -> tuple[Tensor, State]:
        """Mean nats of the targets (T, B), a float32 scalar, and the state after the last symbol; see ``forward``."""
        outputs, state = self._outputs(ids, state, noise)
        if self.backend.path == "native":
            from charrnn.models.native.output import output_loss

            threads, precision = self.backend.num_threads, self.backend.precision
            weight, bias = self.output.weight, self.output.bias
            return output_loss(outputs, weight, bias, targets, num_threads=threads, precision=precision), state
        logits = project(outputs, self.output.weight, self.output.bias, self.backend)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten()), state

    def _outputs(self, ids: Tensor, state: State, noise: int) -> tuple[Tensor, State]:
        """Outputs (T, B, H) of the last layer, and the state after the last symbol."""
        embedding = None if self.embedding is None else self.embedding.weight
        outputs: Any = None  # (T, B, H) of the layer below; none below the first
        after = []
        for index, layer in enumerate(self.layers):
            states, seed = state.of_layer(index), noise + 2 * index
            outputs, last = layer(ids, states, embedding=embedding, below=outputs, backend=self.backend, noise=seed)
            if self.training:
                outputs = dropout(outputs, self.dropout, seed=seed + 1, num_threads=self.backend.num_threads)
            after.append(last)
        return outputs, State(torch.stack(parts) for parts in zip(*after, strict=True))

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Fresh weights from ``seed``: uniform in +-1/sqrt(H) as torch does, except what the cell's entry says.

        See ``one_hot_bound`` and ``initial_bias`` of ``cells.Cell``.
        """
        generator = torch.Generator().manual_seed(seed)
        cell, size = self.settings.recurrent_cell, self.settings.hidden_size
        bound = 1 / math.sqrt(size)
        for name, weight in self.named_parameters():
            fresh = torch.empty(weight.shape)
            if name == "embedding.weight":
                fresh.normal_(generator=generator)
            else:
                fresh.uniform_(-bound, bound, generator=generator)
            if name.endswith(("bias_ih", "bias_hh")):
                for gate, value in cell.initial_bias:
                    fresh[gate * size : (gate + 1) * size] = value if name.endswith("bias_ih") else 0.0
            if self.settings.input == "one-hot" and name == "layers.0.weight_ih" and cell.one_hot_bound is not None:
                fresh *= cell.one_hot_bound / bound
            weight.copy_(fresh)

    def weights(self) -> dict[str, Tensor]:
        """All weights by name, in storage order; the tensors themselves, not copies."""
        named = dict(self.named_parameters())
        return {name: named[name] for name in self.settings.parameter_shapes()}

    @torch.no_grad()
    def set_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Copies ``weights`` (names and shapes as in ``settings.parameter_shapes()``) into the network."""
        for name, weight in self.weights().items():
            weight.copy_(weights[name])


class TorchNetwork(RecurrentPredictor):
    """A network in torch as a predictor, on whatever device it is: what training scores its own model with.

    Args:
        network: left in evaluation mode.
    """

    def __init__(self, network: CharRNN) -> None:
        self.network = network.eval()

    @property
    def num_symbols(self) -> int:
        """V."""
        return self.network.settings.vocab_size

    def zero_state(self, num_streams: int) -> State:
        """The state at the start of a text, on the network's device."""
        return self.network.zero_state(num_streams)

    @torch.no_grad()
    def step(self, ids: NDArray[Any], state: State) -> tuple[NDArray[Any], State]:
        """Logits (B, V) of what follows ``ids`` (B,), and the state after reading them."""
        logits, state = self.network(self._moved(ids[None]), state)
        return logits[0].float().cpu().numpy(), state

    @torch.no_grad()
    def score(self, ids: NDArray[Any], targets: NDArray[Any], state: State) -> tuple[NDArray[Any], State]:
        """-ln p(targets[t]), (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all."""
        nats = np.empty(ids.shape)
        block = max(1, min(_LOGITS_AT_ONCE // self.num_symbols, _ROWS_AT_ONCE) // ids.shape[1])
        for begin in range(0, len(ids), block):
            end = min(begin + block, len(ids))
            logits, state = self.network(self._moved(ids[begin:end]), state)
            right = self._moved(targets[begin:end]).flatten()
            losses = F.cross_entropy(logits.flatten(0, 1).float(), right, reduction="none")
            nats[begin:end] = losses.double().cpu().numpy().reshape(end - begin, -1)
        return nats, state

    @property
    def compares(self) -> bool:
        """Whether states can be compared: not in reduced precision, where rounding keeps them far apart."""
        return self.network.backend.precision == "float32"

    def rows_of(self, state: State) -> NDArray[Any]:
        """All numbers that a state holds of each stream, (B, M)."""
        return super().rows_of(state.map(lambda part: part.cpu().numpy()))

    def state_of(self, rows: NDArray[Any]) -> State:
        """The state that ``rows_of`` gave (B, M) for, on the network's device."""
        return super().state_of(rows).map(lambda part: torch.from_numpy(part).to(self._device))

    @property
    def _device(self) -> torch.device:
        return self.network.output.weight.device

    def _moved(self, ids: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids, np.int64)).to(self._device)
