"""The recurrence of a whole window by the C kernels, as a differentiable torch function.

Legend: T steps, B streams, H units, G gates, V rows of an input table, S saved blocks.

Memory kept for the backward pass: (1 + S) * T * B * H floats, one T * B * H more for a cell state. The
backward pass takes G * T * B * H floats besides (a GRU with reset after one T * B * H more).
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from charrnn.models.native.kernel import cell_facts, kernel_number
from charrnn.models.native.tensors import PRECISIONS, Precision, call, floats, whole_numbers


class Window(ctypes.Structure):
    """Mirrors ``Window`` in window.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("cell", "T", "B", "H", "V", "num_threads", "precision")),
        *((name, ctypes.c_void_p) for name in ("x", "ids", "weight_hh", "bias_hh", "hidden", "cells", "saved")),
        *((name, ctypes.c_void_p) for name in ("grad_outputs", "grad_hidden", "grad_cells", "grad_x")),
        *((name, ctypes.c_void_p) for name in ("grad_new", "grad_table", "grad_bias", "grad_weight")),
    ]


def recur(
    kernel: str,
    x_or_table: Tensor,
    ids_or_none: Tensor | None,
    state: tuple[Tensor, ...],
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    *,
    num_threads: int,
    precision: Precision = "float32",
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Outputs of a layer over a window, and its last state; every float input has its gradient.

    Args:
        kernel: the cell's kernel, as its entry in ``models.cells`` names it.
        x_or_table: the input's share of the gates, W_ih x_t + b_ih: (T, B, G*H); with ids, (V, G*H), one row
            per symbol.
        ids_or_none: (T, B) whole numbers, each below V, or None.
        state: (B, H) arrays before the window, hidden first.
        weight_hh: (G*H, H).
        bias_hh: (G*H,) or None.
        num_threads: most threads to use; no result depends on it.
        precision: what the factors of products are rounded to; sums are float32.

    Returns:
        Outputs (T, B, H) and the state after the window.

    Raises:
        RuntimeError: there is no library (``build.unavailable_reason`` says why), or a size or type is wrong.
        IndexError: an id is outside the table.
    """
    h0, c0 = state if len(state) > 1 else (state[0], None)
    outputs, h, c = _Recurrence.apply(  # type: ignore[no-untyped-call]
        kernel_number(kernel), num_threads, precision, x_or_table, ids_or_none, h0, c0, weight_hh, bias_hh
    )
    return outputs, (h,) if c is None else (h, c)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        cell: int,
        num_threads: int,
        precision: Precision,
        x: Tensor,
        ids: Tensor | None,
        h0: Tensor,
        c0: Tensor | None,
        weight_hh: Tensor,
        bias_hh: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        batch_size, size = h0.shape
        facts = cell_facts(cell)
        rows = facts.num_gates * size
        steps = len(x if ids is None else ids)
        if ids is None:
            x = floats("x", x, steps, batch_size, rows)
        else:
            x = floats("the input table", x, len(x), rows)
            ids = whole_numbers("ids", ids, steps, batch_size)
        weight_hh = floats("weight_hh", weight_hh, rows, size)
        if bias_hh is not None:
            bias_hh = floats("bias_hh", bias_hh, rows)
        hidden, cells, saved = torch.empty(steps + 1, batch_size, size), None, None
        hidden[0] = floats("h0", h0, batch_size, size)
        if facts.has_cell:
            cells = torch.empty(steps + 1, batch_size, size)
            cells[0] = floats("c0", c0, batch_size, size)
        if any(ctx.needs_input_grad):
            saved = torch.empty(steps, batch_size, facts.num_saved * size)
        ctx.numbers = {"cell": cell, "T": steps, "B": batch_size, "H": size, "V": len(x)}
        ctx.numbers |= {"num_threads": max(1, num_threads), "precision": PRECISIONS[precision]}
        call(
            "charrnn_forward",
            Window,
            ctx.numbers,
            x=x,
            ids=ids,
            weight_hh=weight_hh,
            bias_hh=bias_hh,
            hidden=hidden,
            cells=cells,
            saved=saved,
        )
        ctx.with_bias = bias_hh is not None
        ctx.save_for_backward(weight_hh, ids, hidden, cells, saved)
        ctx.set_materialize_grads(False)
        return hidden[1:], hidden[steps].clone(), None if cells is None else cells[steps].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        grad_outputs: Tensor | None,
        grad_h: Tensor | None,
        grad_c: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        weight_hh, ids, hidden, cells, saved = ctx.saved_tensors
        cell, steps, batch_size, size = (ctx.numbers[name] for name in ("cell", "T", "B", "H"))
        facts = cell_facts(cell)
        rows = facts.num_gates * size
        if grad_outputs is None:
            grad_outputs = torch.zeros(steps, batch_size, size)
        grad_hidden = _own(grad_h, batch_size, size)
        grad_cells = _own(grad_c, batch_size, size) if facts.has_cell else None
        grad_x = torch.empty(steps, batch_size, rows)
        grad_new = torch.empty(steps, batch_size, size) if facts.has_grad_new else None
        grad_table = None if ids is None else torch.zeros(ctx.numbers["V"], rows)
        grad_bias = torch.zeros(rows) if ctx.with_bias else None
        grad_weight = torch.empty(rows, size)
        call(
            "charrnn_backward",
            Window,
            ctx.numbers,
            ids=ids,
            weight_hh=weight_hh,
            hidden=hidden,
            cells=cells,
            saved=saved,
            grad_outputs=grad_outputs.contiguous(),
            grad_hidden=grad_hidden,
            grad_cells=grad_cells,
            grad_x=grad_x,
            grad_new=grad_new,
            grad_table=grad_table,
            grad_bias=grad_bias,
            grad_weight=grad_weight,
        )
        grad_input = grad_x if ids is None else grad_table
        return None, None, None, grad_input, None, grad_hidden, grad_cells, grad_weight, grad_bias


def _own(gradient: Tensor | None, batch_size: int, size: int) -> Tensor:
    """A copy that C may write to; zeros where nothing flows back."""
    if gradient is None:
        return torch.zeros(batch_size, size)
    return gradient.clone(memory_format=torch.contiguous_format)
