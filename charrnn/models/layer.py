"""One recurrent layer over a window, by the fastest path that gives the numbers of ``cells.py``.

Legend: T time steps, B streams, E embedding, H hidden units, G gates, V vocabulary.

Three paths, one contract:
    native     the cell's C kernel: CPU, float32; layer 0 gathers its input's share of the gates, no product
    fused      torch's own operators: cuDNN on a GPU, oneDNN for the LSTM on CPU
    unrolled   the equations step by step: any cell, device and dtype
A cell without a kernel or an operator takes the unrolled path.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charrnn.models.cells import input_table
from charrnn.models.dropout import dropout
from charrnn.models.settings import ModelSettings


@dataclass(frozen=True)
class Backend:
    """How the recurrence is computed.

    Attributes:
        path: see the module's docstring.
        num_threads: threads of the native kernel.
        precision: "float32", or "bfloat16" for products of bfloat16 factors summed in float32.
    """

    path: Literal["native", "fused", "unrolled"]
    num_threads: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"


UNROLLED = Backend("unrolled")


class RecurrentLayer(nn.Module):
    """A recurrent layer, its weights with torch's names, shapes and gate order.

    Args:
        settings: the network's shape.
        input_size: V or E for layer 0, H for the layers above.
        weight_dropout: share of the recurrent weights dropped in training, drawn anew for every window.
    """

    def __init__(self, settings: ModelSettings, input_size: int, *, weight_dropout: float = 0.0) -> None:
        super().__init__()
        rows, hidden_size = settings.num_gates * settings.hidden_size, settings.hidden_size
        self.settings = settings
        self.weight_dropout = weight_dropout
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(rows)) if settings.bias else None
        self.bias_hh = nn.Parameter(torch.empty(rows)) if settings.bias else None

    def forward(
        self,
        ids: Tensor,
        state: tuple[Tensor, ...],
        *,
        embedding: Tensor | None,
        below: Tensor | None,
        backend: Backend,
        noise: int,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The layer's outputs over a window and its state after it.

        Args:
            ids: (T, B) symbols; the input of layer 0.
            state: (B, H) arrays before the window, one for each of the cell's states.
            embedding: (V, E) or None for one-hot input.
            below: (T, B, H) outputs of the layer below; None for layer 0.
            backend: the path to take.
            noise: decides in training which recurrent weights are dropped.

        Returns:
            outputs (T, B, H) and the state after the window.
        """
        cell = self.settings.recurrent_cell
        weight_hh: Tensor = self.weight_hh
        if self.training:
            weight_hh = dropout(weight_hh, self.weight_dropout, seed=noise, num_threads=backend.num_threads)
        if backend.path == "fused" and cell.fused:
            if below is not None:
                inputs = below
            elif embedding is not None:
                inputs = F.embedding(ids, embedding)
            else:
                # torch's fused operators take no ready-made gates: their input product is theirs to compute.
                inputs = F.one_hot(ids, self.settings.vocab_size).to(state[0].dtype)
            return self._run_fused(weight_hh, inputs, state)

        table = None
        if below is not None:
            x = project(below, self.weight_ih, self.bias_ih, backend)  # (T, B, G*H)
        elif embedding is not None and self.settings.vocab_size > ids.numel():
            x = project(F.embedding(ids, embedding), self.weight_ih, self.bias_ih, backend)
        else:
            x = table = input_table(self.weight_ih, self.bias_ih, embedding)  # (V, G*H)
        if backend.path == "native" and cell.kernel:
            from charrnn.models.native.recurrence import recur

            return recur(
                cell.kernel,
                x.contiguous(),
                None if table is None else ids,
                state,
                weight_hh,
                self.bias_hh,
                num_threads=backend.num_threads,
                precision=backend.precision,
            )
        return self._run_unrolled(weight_hh, x if table is None else F.embedding(ids, table), state)

    def _run_unrolled(
        self, weight_hh: Tensor, x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        step = self.settings.recurrent_cell.step
        bias_hh = 0.0 if self.bias_hh is None else self.bias_hh
        outputs = []
        for x_t in x.unbind(0):
            state = step(x_t, state, weight_hh, bias_hh, torch.tanh)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def _run_fused(
        self, weight_hh: Tensor, inputs: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        weights: list[Tensor] = [self.weight_ih, weight_hh]
        if self.bias_ih is not None and self.bias_hh is not None:
            weights += [self.bias_ih, self.bias_hh]
        # has biases, layers, dropout, training, bidirectional, batch first
        shape = (self.bias_hh is not None, 1, 0.0, self.training, False, False)
        first = [part[None].contiguous() for part in state]
        run = getattr(torch, self.settings.recurrent_cell.fused)
        outputs, *last = run(inputs, first if len(first) > 1 else first[0], weights, *shape)
        return outputs, tuple(part[0] for part in last)


def project(inputs: Tensor, weight: Tensor, bias: Tensor | None, backend: Backend) -> Tensor:
    """W x + b for every step at once, with the factors rounded as ``backend`` says and the sums in float32.

    Args:
        inputs: (T, B, in).
        weight: (out, in).
        bias: (out,) or None.
        backend: its precision counts on the native path; elsewhere torch's autocast decides.
    """
    if backend.path != "native" or backend.precision == "float32":
        return F.linear(inputs, weight, bias)
    product = F.linear(inputs.bfloat16(), weight.bfloat16()).to(inputs.dtype)
    return product if bias is None else product + bias
