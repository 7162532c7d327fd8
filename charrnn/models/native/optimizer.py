"""AdamW updates of all weights by the C kernel, with the gradient's norm and the averages."""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from charrnn.models.native.kernel import library_functions
from charrnn.models.native.tensors import floats

_CHUNK = 1 << 14  # CHUNK in optimizer.c


class Parameter(NamedTuple):
    """A weight and what belongs to it: float32 on the CPU, contiguous, of one shape; all changed in place.

    Attributes:
        weight: as training has it.
        mean: of gradients.
        square: mean of their squares.
        average: of weights.
        decay: weight decay.
    """

    weight: Tensor
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


class Updater:
    """Updates all weights at once, again and again.

    Args:
        parameters: what is updated; the tensors stay where they are.
        betas: shares of the moments that are kept.
        epsilon: added to the root of the mean square.
        clip: most that the norm may be; a larger gradient is scaled down to it.
        num_threads: most threads to use; no result depends on it.

    Raises:
        RuntimeError: there is no library, or a tensor is not as it must be.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        *,
        betas: tuple[float, float],
        epsilon: float,
        clip: float,
        num_threads: int,
    ) -> None:
        self._parameters, self._betas = parameters, betas
        self._rows = (_Parameter * len(parameters))()
        num_chunks = 0
        for row, parameter in zip(self._rows, parameters, strict=True):
            row.count, row.decay = parameter.weight.numel(), parameter.decay
            num_chunks += -(-row.count // _CHUNK)
            for name in ("weight", "mean", "square", "average"):
                tensor = getattr(parameter, name)
                address = floats(name, tensor, *parameter.weight.shape).data_ptr()
                if address != tensor.data_ptr():
                    raise RuntimeError(f"{name} is not contiguous, so it cannot be changed in place")
                setattr(row, name, address)
        self._squares = torch.empty(num_chunks, dtype=torch.float64)
        self._job = _WeightsUpdate(
            num_parameters=len(parameters),
            num_threads=num_threads,
            parameters=ctypes.addressof(self._rows),
            squares=self._squares.data_ptr(),
            beta1=betas[0],
            beta2=betas[1],
            epsilon=epsilon,
            clip=clip,
        )
        self._update = library_functions().charrnn_update

    def update(self, gradients: Sequence[Tensor], *, rate: float, num_updates: int, toward: float) -> float:
        """Updates all weights; where the norm of the whole gradient is not finite, only the averages.

        Args:
            gradients: of the loss, one for each parameter.
            rate: learning rate.
            num_updates: their number with this one.
            toward: share by which averages move to the weights.

        Returns:
            The norm before clipping.

        Raises:
            RuntimeError: a gradient is not float32 on the CPU, or of another shape than its weight.
        """
        held = []
        for row, parameter, gradient in zip(self._rows, self._parameters, gradients, strict=True):
            held.append(floats("a gradient", gradient, *parameter.weight.shape))
            row.gradient = held[-1].data_ptr()
        job = self._job
        job.rate, job.toward = rate, toward
        job.correction1, job.correction2 = (1 - beta**num_updates for beta in self._betas)
        self._update(ctypes.byref(job))
        return float(job.norm)
