"""The cells that have a C kernel, by name, and what their kernels say of them."""

import ctypes
from functools import cache

from charrnn.models.native.build import library, unavailable_reason


class CellFacts(ctypes.Structure):
    """Mirrors ``CellFacts`` in window.h.

    Attributes:
        num_gates: blocks of H rows of weight_hh.
        num_saved: blocks of H values kept of each step for the backward pass.
        has_cell: whether there is a cell state beside the hidden state.
        has_grad_new: whether the last gate's share of the state has a gradient other than its share of the input.
        new_factors: the saved block that the last gate's weights multiply; -1 for the state.
    """

    num_gates: int
    num_saved: int
    has_cell: int
    has_grad_new: int
    new_factors: int

    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("num_gates", "num_saved", "has_cell", "has_grad_new", "new_factors")
    )


@cache
def kernel_number(name: str) -> int:
    """The number by which the C functions know a cell: "rnn", "lstm", "gru" or "gru-before".

    Raises:
        RuntimeError: there is no library; ``build.unavailable_reason`` says why.
        ValueError: no cell of this name has a kernel.
    """
    number: int = library_functions().charrnn_cell(name.encode())
    if number < 0:
        raise ValueError(f"no cell with a kernel is named {name!r}")
    return number


@cache
def cell_facts(number: int) -> CellFacts:
    """What the kernel of this number says of its cell."""
    facts = CellFacts()
    library_functions().charrnn_cell_facts(number, ctypes.byref(facts))
    return facts


def library_functions() -> ctypes.CDLL:
    """The functions of the library.

    Raises:
        RuntimeError: there is no library; ``build.unavailable_reason`` says why.
    """
    built = library()
    if built is None:
        raise RuntimeError(f"the native kernels are not available: {unavailable_reason()}")
    return built.calls
