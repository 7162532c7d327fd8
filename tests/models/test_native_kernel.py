"""What the kernels say of their cells."""

import pytest

from charrnn.models.native import build
from charrnn.models.native.kernel import cell_facts, kernel_name, kernel_number
from charrnn.models.settings import NUM_GATES

pytestmark = pytest.mark.skipif(build.library() is None, reason=f"no native kernels here: {build.unavailable_reason()}")

CELLS = [("rnn", "after"), ("lstm", "after"), ("gru", "after"), ("gru", "before")]


def test_each_kernel_has_a_number_of_its_own() -> None:
    numbers = {kernel_number(kernel_name(cell, reset)) for cell, reset in CELLS}
    assert len(numbers) == len(CELLS)
    assert kernel_name("gru", "before") == "gru-before"


@pytest.mark.parametrize("name", ["", "gru-", "GRU", "lstm-before", "no such cell", "löstm"])
def test_a_cell_without_a_kernel_is_named_in_the_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'"):
        kernel_number(name)


@pytest.mark.parametrize(("cell", "reset"), CELLS)
def test_a_kernel_has_the_gates_and_states_of_its_cell(cell: str, reset: str) -> None:
    facts = cell_facts(kernel_number(kernel_name(cell, reset)))
    assert facts.num_gates == NUM_GATES[cell]
    assert bool(facts.has_cell) == (cell == "lstm")
    assert bool(facts.has_grad_new) == ((cell, reset) == ("gru", "after"))
    assert facts.new_factors < facts.num_saved
