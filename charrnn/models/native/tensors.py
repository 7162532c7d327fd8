"""Tensors handed to the C kernels: their addresses, checked before C reads past an end."""

import ctypes
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from charrnn.models.native.build import library
from charrnn.models.native.kernel import library_functions

Precision = Literal["float32", "bfloat16"]
PRECISIONS = {"float32": 0, "bfloat16": 1}
_NO_MEMORY, _BAD_ID, _NO_BF16 = 1, 2, 3


def has_bfloat16() -> bool:
    """Whether ``precision="bfloat16"`` can be asked for: processor and compiler both know its products."""
    return library() is not None and library_functions().charrnn_bf16() != 0


def has_tiles() -> bool:
    """Whether products of bfloat16 are made by tiles, many times as fast as those of float32."""
    return library() is not None and library_functions().charrnn_bf16() == 2


def call(name: str, structure: type[ctypes.Structure], numbers: Mapping[str, float], **tensors: Tensor | None) -> None:
    """Calls a kernel with a structure of numbers and of the tensors' addresses; see ``run``."""
    run(name, structure(**numbers, **addresses(**tensors)))


def addresses(**tensors: Tensor | None) -> dict[str, int]:
    """Where tensors lie, by name; those that there are."""
    return {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}


def run(name: str, structure: ctypes.Structure) -> None:
    """Calls a kernel.

    Raises:
        MemoryError: there was none.
        IndexError: an id is outside its table.
        RuntimeError: the processor lacks the precision.
    """
    status = getattr(library_functions(), name)(ctypes.byref(structure))
    if status == _NO_MEMORY:
        raise MemoryError(f"{name}: out of memory")
    if status == _BAD_ID:
        raise IndexError("an id is outside the table of inputs")
    if status == _NO_BF16:
        raise RuntimeError("this processor has no bfloat16 products; ask has_bfloat16() first")


def floats(name: str, tensor: Tensor | None, *shape: int) -> Tensor:
    """The tensor laid out for C, its size and type checked: C would read past its end."""
    if tensor is None:
        raise RuntimeError(f"{name} is missing")
    if tensor.shape != shape or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
        raise RuntimeError(f"{name} is {found}; it must be float32 {shape} on the CPU")
    return tensor.detach().contiguous()


def whole_numbers(name: str, tensor: Tensor, *shape: int) -> Tensor:
    """The tensor as int64, laid out for C, its size checked."""
    if tensor.shape != shape or tensor.is_floating_point() or tensor.device.type != "cpu":
        found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
        raise RuntimeError(f"{name} is {found}; it must be whole numbers {shape} on the CPU")
    return tensor.to(torch.int64).contiguous()


class _Dropout(ctypes.Structure):
    """Mirrors ``Dropout`` in dropout.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("count", "num_threads", "seed", "num_dropped")),
        *((name, ctypes.c_void_p) for name in ("given", "to")),
        ("scale", ctypes.c_double),
    ]


def drop(x: Tensor, *, num_dropped: int, seed: int, num_threads: int, to: Tensor | None = None) -> Tensor:
    """``x`` with elements zeroed where ``models.dropout`` says, the others times 256 / (256 - num_dropped).

    It is put in ``to``, contiguous and of the same shape, where that is given; that may be ``x`` itself.
    """
    x = floats("x", x, *x.shape)
    to = torch.empty_like(x) if to is None else to
    numbers = {"count": x.numel(), "num_threads": num_threads, "seed": seed, "num_dropped": num_dropped}
    call("charrnn_dropout", _Dropout, {**numbers, "scale": 256 / (256 - num_dropped)}, given=x, to=to)
    return to
