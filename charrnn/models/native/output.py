"""The output layer and its cross-entropy by the C kernels, as one differentiable torch function.

Legend: N rows (steps x streams), H units, V symbols.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from charrnn.models.native.tensors import PRECISIONS, Precision, call, floats, whole_numbers


class Output(ctypes.Structure):
    """Mirrors ``Output`` in output.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("N", "H", "V", "num_threads", "precision")),
        *((name, ctypes.c_void_p) for name in ("hidden", "weight", "bias", "targets", "nats")),
        *((name, ctypes.c_void_p) for name in ("grad_hidden", "grad_weight", "grad_bias")),
    ]


def output_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    num_threads: int,
    precision: Precision = "float32",
) -> Tensor:
    """Mean nats of the targets, from hidden W^T + b; a float32 scalar whose gradients are made with it.

    Args:
        hidden: (..., H).
        weight: (V, H).
        bias: (V,) or None.
        targets: (...) whole numbers below V, as many as rows of ``hidden``.
        num_threads: most threads to use; no result depends on it.
        precision: what the factors of products are rounded to; sums are float32.

    Raises:
        RuntimeError: there is no library (``build.unavailable_reason`` says why), or a size or type is wrong.
        IndexError: a target is no symbol.
    """
    loss: Tensor = _OutputLoss.apply(  # type: ignore[no-untyped-call]
        hidden.flatten(0, -2), weight, bias, targets.flatten(), num_threads, precision
    )
    return loss


class _OutputLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        num_threads: int,
        precision: Precision,
    ) -> Tensor:
        (num_rows, size), num_symbols = hidden.shape, len(weight)
        hidden = floats("hidden", hidden, num_rows, size)
        weight = floats("weight", weight, num_symbols, size)
        bias = None if bias is None else floats("bias", bias, num_symbols)
        targets = whole_numbers("targets", targets, num_rows)
        nats = torch.empty(num_rows, dtype=torch.float64)
        gradients = torch.empty_like(hidden), torch.empty_like(weight), None if bias is None else torch.empty_like(bias)
        call(
            "charrnn_output",
            Output,
            {"N": num_rows, "H": size, "V": num_symbols, "num_threads": max(1, num_threads)}
            | {"precision": PRECISIONS[precision]},
            hidden=hidden,
            weight=weight,
            bias=bias,
            targets=targets,
            nats=nats,
            grad_hidden=gradients[0],
            grad_weight=gradients[1],
            grad_bias=gradients[2],
        )
        ctx.save_for_backward(*gradients)
        return nats.mean().float()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        gradients = ctx.saved_tensors
        if float(grad_loss) != 1.0:
            gradients = [None if each is None else each * grad_loss for each in gradients]
        return *gradients, None, None, None
