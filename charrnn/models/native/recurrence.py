"""The recurrence of a whole window by the C kernels, as a differentiable torch function.

Legend: T steps, B streams, H units, G gates, V rows of an input table, S saved blocks.

Memory kept for the backward pass: (1 + S) * T * B * H floats, one T * B * H more for a cell state. The
backward pass takes G * T * B * H floats besides (a GRU with reset after one T * B * H more).
"""

import contextlib
import ctypes
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from charrnn.models.native.build import library
from charrnn.models.native.kernel import cell_facts, kernel_number, library_functions

Precision = Literal["float32", "bfloat16"]

_PRECISIONS = {"float32": 0, "bfloat16": 1}
_NO_MEMORY, _BAD_ID, _NO_BF16 = 1, 2, 3


class _Window(ctypes.Structure):
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
        num_threads: most threads to use. The kernels' results do not depend on it; the gradient of weight_hh
            in float32 is torch's own product, with torch's threads.
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


def has_bfloat16() -> bool:
    """Whether ``precision="bfloat16"`` can be asked for: processor and compiler both know its products."""
    return library() is not None and _kernels().charrnn_bf16() != 0


def has_tiles() -> bool:
    """Whether products of bfloat16 are made by tiles, many times as fast as those of float32."""
    return library() is not None and _kernels().charrnn_bf16() == 2


@cache
def _kernels() -> ctypes.CDLL:
    """The library, its team the pool of threads that torch's own operators use.

    Two pools would compete: after an operator, the threads of an OpenMP runtime spin for a while and keep the
    cores.
    """
    functions = library_functions()
    runtime = _openmp_runtime()
    if runtime is not None:
        with contextlib.suppress(OSError, AttributeError):
            parallel = ctypes.CDLL(runtime).GOMP_parallel
            functions.team_use_openmp(ctypes.cast(parallel, ctypes.c_void_p))
    return functions


def _openmp_runtime() -> str | None:
    """The OpenMP runtime that torch has loaded into this process, where it is plain which one that is."""
    try:
        lines = Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    paths = {line.split(maxsplit=5)[-1] for line in lines if re.search(r"/lib(gomp|iomp5|omp)[-.][^/]*$", line)}
    home = str(Path(torch.__file__).parent.parent)
    found = {path for path in paths if path.startswith(home)} or paths
    return found.pop() if len(found) == 1 else None


def _call(name: str, numbers: dict[str, int], **tensors: Tensor | None) -> None:
    addresses = {key: tensor.data_ptr() for key, tensor in tensors.items() if tensor is not None}
    status = getattr(_kernels(), name)(ctypes.byref(_Window(**numbers, **addresses)))
    if status == _NO_MEMORY:
        raise MemoryError(f"{name}: out of memory")
    if status == _BAD_ID:
        raise IndexError("an id is outside the table of inputs")
    if status == _NO_BF16:
        raise RuntimeError("this processor has no bfloat16 products; ask has_bfloat16() first")


def _floats(name: str, tensor: Tensor | None, *shape: int) -> Tensor:
    """The tensor laid out for C, its size and type checked: C would read past its end."""
    if tensor is None:
        raise RuntimeError(f"{name} is missing")
    if tensor.shape != shape or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
        raise RuntimeError(f"{name} is {found}; it must be float32 {shape} on the CPU")
    return tensor.detach().contiguous()


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
            x = _floats("x", x, steps, batch_size, rows)
        else:
            x = _floats("the input table", x, len(x), rows)
            if ids.shape != (steps, batch_size) or ids.is_floating_point() or ids.device.type != "cpu":
                raise RuntimeError(f"ids are {ids.dtype} {tuple(ids.shape)}; they must be whole numbers (T, B)")
            ids = ids.to(torch.int64).contiguous()
        weight_hh = _floats("weight_hh", weight_hh, rows, size)
        if bias_hh is not None:
            bias_hh = _floats("bias_hh", bias_hh, rows)
        hidden, cells, saved = torch.empty(steps + 1, batch_size, size), None, None
        hidden[0] = _floats("h0", h0, batch_size, size)
        if facts.has_cell:
            cells = torch.empty(steps + 1, batch_size, size)
            cells[0] = _floats("c0", c0, batch_size, size)
        if any(ctx.needs_input_grad):
            saved = torch.empty(steps, batch_size, facts.num_saved * size)
        ctx.numbers = {"cell": cell, "T": steps, "B": batch_size, "H": size, "V": len(x)}
        ctx.numbers |= {"num_threads": max(1, num_threads), "precision": _PRECISIONS[precision]}
        _call(
            "charrnn_forward",
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
        _call(
            "charrnn_backward",
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
        if ctx.numbers["precision"] == _PRECISIONS["float32"]:
            gates, before = grad_x.flatten(0, 1), hidden[:steps].flatten(0, 1)
            # The last gate may have another gradient or other factors than the gates before it.
            end = rows - size if facts.has_grad_new or facts.new_factors >= 0 else rows
            torch.mm(gates[:, :end].T, before, out=grad_weight[:end])
            if end < rows:
                gradient = gates[:, end:] if grad_new is None else grad_new.flatten(0, 1)
                start = facts.new_factors * size
                factors = before if start < 0 else saved.flatten(0, 1)[:, start : start + size]
                torch.mm(gradient.T, factors, out=grad_weight[end:])
        grad_input = grad_x if ids is None else grad_table
        return None, None, None, grad_input, None, grad_hidden, grad_cells, grad_weight, grad_bias


def _own(gradient: Tensor | None, batch_size: int, size: int) -> Tensor:
    """A copy that C may write to; zeros where nothing flows back."""
    if gradient is None:
        return torch.zeros(batch_size, size)
    return gradient.clone(memory_format=torch.contiguous_format)
