"""One recurrent layer over a window, by the fastest path that gives the numbers of ``cells.py``.

Legend: T time steps, B streams, E embedding, H hidden units, G gates, V vocabulary.

Three paths, one contract:
    native     the C kernel: CPU, float32; layer 0 gathers its input's share of the gates, no product
    fused      torch's own operators: cuDNN on a GPU, oneDNN for the LSTM on CPU
    unrolled   the equations step by step: any device and dtype; the only torch path for the GRU that resets
               before the product
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from charrnn.models import cells
from charrnn.models.settings import ModelSettings

if TYPE_CHECKING:
    from charrnn.models.char_rnn import RecurrentLayer


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


def run_recurrence(
    layer: "RecurrentLayer",
    settings: ModelSettings,
    *,
    weight_hh: Tensor,
    ids: Tensor,
    embedding: Tensor | None,
    below: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    backend: Backend,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """A layer's outputs over a window and its state after it.

    Args:
        layer: the weights.
        settings: the network's shape.
        weight_hh: (G*H, H), the layer's own or a part of it left by dropout.
        ids: (T, B) symbols; the input of layer 0.
        embedding: (V, E) or None for one-hot input.
        below: (T, B, H) outputs of the layer below; None for layer 0.
        h: (B, H) state before the window.
        c: (B, H) LSTM cell before the window, or None.
        backend: the path to take.

    Returns:
        outputs (T, B, H), h (B, H), c (B, H) or None.
    """
    if backend.path == "fused" and settings.reset == "after":
        if below is not None:
            inputs = below
        elif embedding is not None:
            inputs = F.embedding(ids, embedding)
        else:
            # torch's fused operators take no ready-made gates: their input product is theirs to compute.
            inputs = F.one_hot(ids, settings.vocab_size).to(h.dtype)
        return _run_fused(layer, settings, weight_hh, inputs, h, c)

    table = None
    if below is not None:
        x = project(below, layer.weight_ih, layer.bias_ih, backend)  # (T, B, G*H)
    elif embedding is not None and settings.vocab_size > ids.numel():
        x = project(F.embedding(ids, embedding), layer.weight_ih, layer.bias_ih, backend)
    else:
        rows = layer.weight_ih.T if embedding is None else embedding @ layer.weight_ih.T
        table = rows if layer.bias_ih is None else rows + layer.bias_ih  # (V, G*H)
        x = table
    if backend.path == "native":
        from charrnn.models.native.recurrence import recur

        return recur(
            settings.cell,
            settings.reset,
            x.contiguous(),
            None if table is None else ids,
            h,
            c,
            weight_hh,
            layer.bias_hh,
            num_threads=backend.num_threads,
            precision=backend.precision,
        )
    return _run_unrolled(layer, settings, weight_hh, x if table is None else F.embedding(ids, table), h, c)


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


def _run_unrolled(
    layer: "RecurrentLayer", settings: ModelSettings, weight_hh: Tensor, x: Tensor, h: Tensor, c: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    bias_hh = 0.0 if layer.bias_hh is None else layer.bias_hh
    outputs = []
    for x_t in x.unbind(0):
        if c is not None:
            h, c = cells.lstm_step(x_t, h, c, weight_hh, bias_hh, torch.tanh)
        else:
            h = cells.step_of(settings.cell, settings.reset)(x_t, h, weight_hh, bias_hh, torch.tanh)
        outputs.append(h)
    return torch.stack(outputs), h, c


def _run_fused(
    layer: "RecurrentLayer", settings: ModelSettings, weight_hh: Tensor, inputs: Tensor, h: Tensor, c: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    has_bias = layer.bias_ih is not None and layer.bias_hh is not None
    weights: list[Tensor] = [layer.weight_ih, weight_hh]
    if layer.bias_ih is not None and layer.bias_hh is not None:
        weights += [layer.bias_ih, layer.bias_hh]
    shape = (has_bias, 1, 0.0, layer.training, False, False)  # layers, dropout, training, bidirectional, batch_first
    if c is not None:
        outputs, h_n, c_n = torch.lstm(inputs, [h[None], c[None]], weights, *shape)
        return outputs, h_n[0], c_n[0]
    run = torch.gru if settings.cell == "gru" else torch.rnn_tanh
    outputs, h_n = run(inputs, h[None], weights, *shape)
    return outputs, h_n[0], None
