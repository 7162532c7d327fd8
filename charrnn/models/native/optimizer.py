"""One AdamW update of all weights by the C kernel, with the gradient's norm and the averages."""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from charrnn.models.native.kernel import library_functions
from charrnn.models.native.tensors import floats

_CHUNK = 1 << 14  # CHUNK in optimizer.c


class Parameter(NamedTuple):
    """A weight and what belongs to it: float32 on the CPU, contiguous, of one shape.

    Attributes:
        weight: changed in place, as are the moments and the average.
        gradient: of the loss.
        mean: of gradients.
        square: mean of their squares.
        average: of weights.
        decay: weight decay.
    """

    weight: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    average: Tensor
    decay: float


class _Parameter(ctypes.Structure):
    """Mirrors ``Parameter`` in optimizer.c."""

    _fields_ = [
        ("count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("weight", "gradient", "mean", "square", "average")),
        ("decay", ctypes.c_double),
    ]


class _WeightsUpdate(ctypes.Structure):
    """Mirrors ``WeightsUpdate`` in optimizer.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("num_parameters", "num_threads")),
        *((name, ctypes.c_void_p) for name in ("parameters", "squares")),
        *((name, ctypes.c_double) for name in ("rate", "beta1", "beta2", "epsilon", "clip")),
        *((name, ctypes.c_double) for name in ("correction1", "correction2", "toward", "norm")),
    ]


def update(
    parameters: Sequence[Parameter],
    *,
    rate: float,
    betas: tuple[float, float],
    epsilon: float,
    clip: float,
    num_updates: int,
    toward: float,
    num_threads: int,
) -> float:
    """Updates all weights; where the norm of the whole gradient is not finite, only the averages.

    Args:
        parameters: what is updated.
        rate: learning rate.
        betas: shares of the moments that are kept.
        epsilon: added to the root of the mean square.
        clip: most that the norm may be; a larger gradient is scaled down to it.
        num_updates: their number with this one.
        toward: share by which averages move to the weights.
        num_threads: most threads to use; no result depends on it.

    Returns:
        The norm before clipping.

    Raises:
        RuntimeError: there is no library, or a tensor is not as it must be.
    """
    rows = (_Parameter * len(parameters))()
    num_chunks, held = 0, []
    for row, parameter in zip(rows, parameters, strict=True):
        row.count, row.decay = parameter.weight.numel(), parameter.decay
        num_chunks += -(-row.count // _CHUNK)
        for name, tensor in parameter._asdict().items():
            if isinstance(tensor, Tensor):
                laid_out = floats(name, tensor, *parameter.weight.shape)
                if name != "gradient" and laid_out.data_ptr() != tensor.data_ptr():
                    raise RuntimeError(f"{name} is not contiguous, so it cannot be changed in place")
                held.append(laid_out)
                setattr(row, name, laid_out.data_ptr())
    squares = torch.empty(num_chunks, dtype=torch.float64)
    job = _WeightsUpdate(
        num_parameters=len(parameters),
        num_threads=num_threads,
        parameters=ctypes.addressof(rows),
        squares=squares.data_ptr(),
        rate=rate,
        beta1=betas[0],
        beta2=betas[1],
        epsilon=epsilon,
        clip=clip,
        correction1=1 - betas[0] ** num_updates,
        correction2=1 - betas[1] ** num_updates,
        toward=toward,
    )
    library_functions().charrnn_update(ctypes.byref(job))
    return float(job.norm)
