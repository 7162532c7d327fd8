"""The same work written plainly with torch.nn, as most programs of this kind do: what charrnn is measured by."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class PlainModel(nn.Module):
    """One-hot input, one torch.nn recurrent layer, a linear layer to logits.

    Args:
        cell: "rnn", "lstm" or "gru".
        hidden_size: H.
        vocab_size: V.
    """

    def __init__(self, cell: str, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.recurrence = CELLS[cell](vocab_size, hidden_size)
        self.output = nn.Linear(hidden_size, vocab_size)

    def forward(self, ids: Tensor, state: object = None) -> tuple[Tensor, object]:
        """Logits (T, B, V) after ids (T, B), and the state after them; torch.nn's own state, None for zeros."""
        outputs, state = self.recurrence(F.one_hot(ids, self.vocab_size).float(), state)
        return self.output(outputs), state


@dataclass
class PlainStep:
    """A training step by torch.nn: forward, backward, clipping, fused AdamW."""

    cell: str
    hidden_size: int
    vocab_size: int
    autocast: bool

    def __post_init__(self) -> None:
        self.model = PlainModel(self.cell, self.hidden_size, self.vocab_size)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self._state: object = None

    def __call__(self, ids: Tensor) -> None:
        """Learns from a window of ids (T + 1, B), the state carried from the last."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            logits, state = self.model(ids[:-1], self._state)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[1:].flatten())
        self._state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()


@torch.no_grad()
def draw(model: PlainModel, length: int) -> Iterator[int]:
    """Symbols drawn one after the other, each the next one's input."""
    ids, state = torch.zeros(1, 1, dtype=torch.int64), None
    for _ in range(length):
        logits, state = model(ids, state)
        ids = torch.multinomial(logits[0].softmax(-1), 1)
        yield int(ids)


@torch.no_grad()
def score(model: PlainModel, ids: Tensor, window: int = 1024) -> float:
    """Nats of ids (N,) but the first, the state carried from window to window."""
    state, nats = None, 0.0
    for begin in range(0, len(ids) - 1, window):
        part = ids[begin : begin + window + 1]
        logits, state = model(part[:-1, None], state)
        nats += float(F.cross_entropy(logits[:, 0].double(), part[1:], reduction="sum"))
    return nats
