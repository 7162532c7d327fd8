"""Dropout whose mask is a function of a seed and an element's place: the same on every device and with any threads."""

from typing import Any

import torch
from torch import Tensor

from charrnn.models.native.build import library

_BLOCK = 64  # elements decided by 16 numbers of 32 bits, as native/dropout.c has it
_32_BITS = 0xFFFFFFFF


def dropout(x: Tensor, probability: float, *, seed: int, num_threads: int = 1) -> Tensor:
    """``x`` with each element zeroed with ``probability`` and the rest scaled up, so that means stay.

    One byte of a hash of ``seed`` and the element's place decides it, so the probability is rounded to a 256th and the
    scale follows it.

    Args:
        x: floats of any shape.
        probability: 0 <= probability < 1.
        seed: a whole number.
        num_threads: of the C kernel, which makes the same mask where there is one.

    Source: Srivastava et al. 2014; the hash is the finalizer of MurmurHash3, Appleby 2008.
    """
    of_256 = num_dropped(probability)
    if of_256 == 0:
        return x
    seed = scrambled(seed)
    if x.device.type == "cpu" and x.dtype == torch.float32 and library() is not None:
        dropped: Tensor = _Dropout.apply(x, of_256, seed, num_threads)  # type: ignore[no-untyped-call]
        return dropped
    return x * (_bytes(x, seed) >= of_256).to(x.dtype).mul_(256 / (256 - of_256))


def num_dropped(probability: float) -> int:
    """Elements of 256 that are dropped, 0 to 255."""
    return min(round(256 * probability), 255)


def scrambled(seed: int) -> int:
    """Another 63-bit number, so that neighbouring seeds have nothing in common; splitmix64, Steele et al. 2014."""
    z = (seed + 0x9E3779B97F4A7C15) % (1 << 64)
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    z = (z ^ z >> 27) * 0x94D049BB133111EB % (1 << 64)
    return (z ^ z >> 31) >> 1


def _bytes(x: Tensor, seed: int) -> Tensor:
    """A byte for each element, int64, in the shape of ``x``."""
    num_blocks = -(-x.numel() // _BLOCK)
    numbers = torch.arange(num_blocks * _BLOCK // 4, device=x.device) & _32_BITS
    numbers = _mixed(_mixed(numbers ^ (seed & _32_BITS)) ^ (seed >> 32)).view(num_blocks, 1, _BLOCK // 4)
    shifts = torch.arange(0, 32, 8, device=x.device).view(1, 4, 1)
    return (numbers >> shifts & 255).flatten()[: x.numel()].view(x.shape)


def _mixed(numbers: Tensor) -> Tensor:
    numbers = (numbers ^ numbers >> 16) * 0x85EBCA6B & _32_BITS
    numbers = (numbers ^ numbers >> 13) * 0xC2B2AE35 & _32_BITS
    return numbers ^ numbers >> 16


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, num_dropped: int, seed: int, num_threads: int) -> Tensor:  # noqa: ANN401
        ctx.drawn = num_dropped, seed, num_threads
        return _dropped(x, *ctx.drawn)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        return _dropped(gradient, *ctx.drawn), None, None, None


def _dropped(x: Tensor, num_dropped: int, seed: int, num_threads: int) -> Tensor:
    from charrnn.models.native.tensors import drop

    return drop(x, num_dropped=num_dropped, seed=seed, num_threads=num_threads)
