"""The recurrence of a whole window by the C kernels, as a differentiable torch function.

Legend: T steps, B streams, H units, G gates, V rows of an input table, S saved blocks (rnn 0, others 4).

Memory kept for the backward pass: (1 + S) * T * B * H floats, one T * B * H more for an LSTM's cells. The backward
pass takes G * T * B * H floats besides (GRU with reset after: one T * B * H more).
"""

import contextlib
import ctypes
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from charrnn.models.native.build import library, unavailable_reason
from charrnn.models.settings import NUM_GATES

Precision = Literal["float32", "bfloat16"]

_CELLS = {("rnn", "after"): 0, ("lstm", "after"): 1, ("gru", "after"): 2, ("gru", "before"): 3}
_GRU, _GRU_BEFORE = 2, 3
_PRECISIONS = {"float32": 0, "bfloat16": 1}
_NUM_SAVED = (0, 4, 4, 4)
_POINTERS = (
    "x ids weight_hh bias_hh hidden cells saved "
    "grad_outputs grad_hidden grad_cells grad_x grad_new grad_table grad_bias grad_weight"
).split()
_NUMBERS = "cell T B H V num_threads precision".split()


class _Window(ctypes.Structure):
    """Mirrors ``Window`` in recurrence.c."""

    _fields_ = [(name, ctypes.c_int64) for name in _NUMBERS] + [(name, ctypes.c_void_p) for name in _POINTERS]


def recur(
    cell: str,
    reset: str,
    x_or_table: Tensor,
    ids_or_none: Tensor | None,
    h0: Tensor,
    c0: Tensor | None,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    *,
    num_threads: int,
    precision: Precision = "float32",
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Outputs of a layer over a window, and its last state; every float input has its gradient.

    Args:
        cell: "rnn", "lstm" or "gru".
        reset: "after" or "before", for a GRU.
        x_or_table: the input's share of the gates, W_ih x_t + b_ih: (T, B, G*H); with ids, (V, G*H), one row a symbol.
        ids_or_none: (T, B) whole numbers, each below V, or None.
        h0: (B, H) hidden state before the window.
        c0: (B, H) cell state before it; LSTM only.
        weight_hh: (G*H, H).
        bias_hh: (G*H,) or None.
        num_threads: most threads to use; results do not depend on it.
        precision: what the products' factors are rounded to; sums are float32.

    Returns:
        Outputs (T, B, H), last hidden state (B, H), last cell state (B, H) or None.

    Raises:
        RuntimeError: there is no library (``build.unavailable_reason`` says why), or a size or type does not fit.
        IndexError: an id is outside the table.
    """
    outputs, h, c = _Recurrence.apply(  # type: ignore[no-untyped-call]
        _CELLS[cell, reset], num_threads, precision, x_or_table, ids_or_none, h0, c0, weight_hh, bias_hh
    )
    return outputs, h, c


@cache
def _kernels() -> ctypes.CDLL:
    """The library, its team the pool of threads that torch's own operators use.

    Two pools would compete: after an operator, an OpenMP runtime's threads spin for a while and keep the cores.
    """
    built = library()
    if built is None:
        raise RuntimeError(f"the native kernels are not available: {unavailable_reason()}")
    runtime = _openmp_runtime()
    if runtime is not None:
        with contextlib.suppress(OSError, AttributeError):
            team = ctypes.CDLL(runtime).GOMP_parallel
            built.calls.team_borrow(ctypes.cast(team, ctypes.c_void_p))
    return built.calls


def _openmp_runtime() -> str | None:
    """The OpenMP runtime that torch has loaded into this process, where it is plain which one that is."""
    try:
        lines = Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    paths = {line.split(maxsplit=5)[5] for line in lines if re.search(r"/lib(gomp|iomp5|omp)[-.][^/]*$", line)}
    home = str(Path(torch.__file__).parent.parent)
    beside_torch = {path for path in paths if path.startswith(home)}
    found = beside_torch or paths
    return found.pop() if len(found) == 1 else None


def has_bfloat16() -> bool:
    """Whether ``precision="bfloat16"`` can be asked for: the processor and the compiler both know its products."""
    return library() is not None and _kernels().charrnn_bf16() != 0


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _call(name: str, numbers: dict[str, int], tensors: dict[str, Tensor | None]) -> None:
    window = _Window(**numbers, **{key: _address(tensor) for key, tensor in tensors.items()})
    status = getattr(_kernels(), name)(ctypes.byref(window))
    if status == 1:
        raise MemoryError(f"{name}: out of memory")
    if status == 3:
        raise RuntimeError("this processor has no bfloat16 products (has_bfloat16() tells)")
    if status == 2:
        raise IndexError("an id is outside the table of inputs")


def _floats(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor laid out for C, its size and type checked: C would read past its end."""
    if tensor.shape != shape or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise RuntimeError(
            f"{name} is {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}; it must be float32 {shape} on the CPU"
        )
    return tensor.detach().contiguous()


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
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
        B, H = h0.shape
        rows = weight_hh.shape[0]
        T = (x if ids is None else ids).shape[0]
        x = _floats("x", x, (x.shape[0], rows) if ids is not None else (T, B, rows))
        weight_hh = _floats("weight_hh", weight_hh, (NUM_GATES[_name(cell)] * H, H))
        if bias_hh is not None:
            bias_hh = _floats("bias_hh", bias_hh, (rows,))
        if ids is not None:
            if ids.shape != (T, B):
                raise RuntimeError(f"ids are {tuple(ids.shape)}; they must be {(T, B)}")
            ids = ids.to(torch.int64).contiguous()
        hidden = torch.empty(T + 1, B, H)
        hidden[0] = _floats("h0", h0, (B, H))
        cells = None
        if _name(cell) == "lstm":
            if c0 is None:
                raise RuntimeError("an LSTM needs c0")
            cells = torch.empty(T + 1, B, H)
            cells[0] = _floats("c0", c0, (B, H))
        saved = torch.empty(T, B, _NUM_SAVED[cell] * H) if any(ctx.needs_input_grad) else None
        ctx.numbers = {"cell": cell, "T": T, "B": B, "H": H, "V": x.shape[0], "num_threads": max(1, num_threads)}
        ctx.numbers["precision"] = _PRECISIONS[precision]
        ctx.with_bias = bias_hh is not None
        _call(
            "charrnn_forward",
            ctx.numbers,
            {"x": x, "ids": ids, "weight_hh": weight_hh, "bias_hh": bias_hh, "hidden": hidden, "cells": cells}
            | {"saved": saved},
        )
        ctx.save_for_backward(weight_hh, ids, hidden, cells, saved)
        ctx.set_materialize_grads(False)
        return hidden[1:], hidden[T].clone(), None if cells is None else cells[T].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_outputs: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        weight_hh, ids, hidden, cells, saved = ctx.saved_tensors
        cell, T, B, H = (ctx.numbers[name] for name in ("cell", "T", "B", "H"))
        rows = weight_hh.shape[0]
        grad_outputs = torch.zeros(T, B, H) if grad_outputs is None else grad_outputs.contiguous()
        grad_hidden = _own(grad_h, B, H)
        grad_cells = _own(grad_c, B, H) if cells is not None else None
        grad_x = torch.empty(T, B, rows)
        grad_new = torch.empty(T, B, H) if cell == _GRU else None
        grad_table = None if ids is None else torch.zeros(ctx.numbers["V"], rows)
        grad_bias = torch.zeros(rows) if ctx.with_bias else None
        grad_weight = torch.empty(rows, H)
        _call(
            "charrnn_backward",
            ctx.numbers,
            {"ids": ids, "weight_hh": weight_hh, "hidden": hidden, "cells": cells, "saved": saved}
            | {"grad_outputs": grad_outputs, "grad_hidden": grad_hidden, "grad_cells": grad_cells}
            | {"grad_x": grad_x, "grad_new": grad_new, "grad_table": grad_table, "grad_bias": grad_bias}
            | {"grad_weight": grad_weight},
        )
        gates, before = grad_x.view(T * B, rows), hidden[:T].view(T * B, H)
        if ctx.numbers["precision"]:
            pass  # the kernel has made it
        elif cell == _GRU and grad_new is not None:
            torch.mm(gates[:, : 2 * H].T, before, out=grad_weight[: 2 * H])
            torch.mm(grad_new.view(T * B, H).T, before, out=grad_weight[2 * H :])
        elif cell == _GRU_BEFORE:
            fed = saved.view(T * B, 4 * H)[:, 3 * H :]
            torch.mm(gates[:, : 2 * H].T, before, out=grad_weight[: 2 * H])
            torch.mm(gates[:, 2 * H :].T, fed, out=grad_weight[2 * H :])
        else:
            torch.mm(gates.T, before, out=grad_weight)
        grad_input = grad_x if ids is None else grad_table
        return None, None, None, grad_input, None, grad_hidden, grad_cells, grad_weight, grad_bias


def _name(cell: int) -> str:
    return ("rnn", "lstm", "gru", "gru")[cell]


def _own(gradient: Tensor | None, B: int, H: int) -> Tensor:
    """A copy that C may write to; zeros where nothing flows back."""
    return torch.zeros(B, H) if gradient is None else gradient.clone(memory_format=torch.contiguous_format)
