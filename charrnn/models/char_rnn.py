"""The network: ids and a state in, logits and a state out. Read it from the top.

Legend: T time steps, B streams, E embedding, H hidden units, G gates, L layers, V vocabulary.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from charrnn.models.dropout import dropout
from charrnn.models.recurrence import Backend, project, run_recurrence
from charrnn.models.settings import ModelSettings

# Half the width of one-hot input weights at the start, by the search under tests/benchmarks. The GRU is not among them:
# from wide weights it learns faster at first, and then its loss may rise again.
_ONE_HOT_BOUND = {"rnn": 4.0, "lstm": 1.7}


class State(NamedTuple):
    """What a network remembers of the text so far.

    Attributes:
        hidden: (L, B, H).
        cell: (L, B, H) for the LSTM, (0, B, H) for the cells that have none.
    """

    hidden: Tensor
    cell: Tensor

    def detach(self) -> "State":
        """The same memory with the gradient cut: the border of truncated BPTT."""
        return State(self.hidden.detach(), self.cell.detach())


class RecurrentLayer(nn.Module):
    """The weights of one recurrent layer, with torch's names, shapes and gate order."""

    def __init__(self, settings: ModelSettings, input_size: int) -> None:
        super().__init__()
        rows, hidden_size = settings.num_gates * settings.hidden_size, settings.hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(rows)) if settings.bias else None
        self.bias_hh = nn.Parameter(torch.empty(rows)) if settings.bias else None


class CharRNN(nn.Module):
    """A stack of recurrent layers between a symbol's row of input weights and a softmax over symbols.

    Args:
        settings: the network's shape.
        backend: how the recurrence is computed; changes speed, not numbers (within rounding).
    """

    def __init__(self, settings: ModelSettings, backend: Backend) -> None:
        super().__init__()
        self.settings = settings
        self.backend = backend
        width = settings.vocab_size
        self.embedding: nn.Embedding | None = None
        if settings.input == "embedding":
            width = settings.embedding_size
            self.embedding = nn.Embedding(settings.vocab_size, width)
        self.layers = nn.ModuleList()
        for _ in range(settings.num_layers):
            self.layers.append(RecurrentLayer(settings, width))
            width = settings.hidden_size
        self.output = nn.Linear(width, settings.vocab_size, bias=settings.bias)

    def zero_state(self, num_streams: int) -> State:
        """The state before any text: zeros, on the weights' device."""
        s, like = self.settings, self.output.weight
        shape = (s.num_layers, num_streams, s.hidden_size)
        hidden = torch.zeros(shape, device=like.device, dtype=like.dtype)
        return State(hidden, hidden.clone() if s.cell == "lstm" else hidden[:0].clone())

    def forward(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits of each next symbol.

        Args:
            ids: (T, B) int64, the symbols read.
            state: the state before the first of them.

        Returns:
            logits (T, B, V) and the state after the last symbol.
        """
        s = self.settings
        outputs = torch.empty(0)  # (T, B, H) of the layer below
        hidden, cell = [], []
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, RecurrentLayer)  # noqa: S101 - for the type checker
            outputs, h, c = run_recurrence(
                layer,
                s,
                weight_hh=dropout(layer.weight_hh, s.weight_dropout) if self.training else layer.weight_hh,
                ids=ids,
                embedding=None if self.embedding is None else self.embedding.weight,
                below=outputs if index > 0 else None,
                h=state.hidden[index],
                c=state.cell[index] if s.cell == "lstm" else None,
                backend=self.backend,
            )
            hidden.append(h)
            if c is not None:
                cell.append(c)
            outputs = dropout(outputs, s.dropout) if self.training else outputs
        logits = project(outputs, self.output.weight, self.output.bias, self.backend)
        return logits, State(torch.stack(hidden), torch.stack(cell) if cell else state.cell)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Fresh weights from ``seed``: uniform in +-1/sqrt(H) as torch does, but for two kinds.

        An LSTM's forget bias starts at 1 in sum (Gers et al. 2000; Jozefowicz et al. 2015). One-hot input weights
        start wide: a symbol reads one column of them, so it is not H terms that add up, and from +-1/sqrt(H) a
        network spends hundreds of updates on telling its symbols apart.
        """
        generator = torch.Generator().manual_seed(seed)
        bound = 1 / math.sqrt(self.settings.hidden_size)
        for name, weight in self.named_parameters():
            fresh = torch.empty(weight.shape)
            if name == "embedding.weight":
                fresh.normal_(generator=generator)
            else:
                fresh.uniform_(-bound, bound, generator=generator)
            if self.settings.cell == "lstm" and name.endswith(("bias_ih", "bias_hh")):
                size = self.settings.hidden_size
                fresh[size : 2 * size] = 1.0 if name.endswith("bias_ih") else 0.0
            if self.settings.input == "one-hot" and name == "layers.0.weight_ih":
                fresh *= _ONE_HOT_BOUND.get(self.settings.cell, bound) / bound
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
