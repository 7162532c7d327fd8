"""What the kernels say of their cells."""

import pytest
from cells import CELLS, WITH_KERNEL

from charrnn.models.cells import CELLS as TABLE
from charrnn.models.native import build
from charrnn.models.native.kernel import cell_facts, kernel_number

pytestmark = pytest.mark.skipif(build.library() is None, reason=f"no native kernels here: {build.unavailable_reason()}")


def test_each_kernel_has_a_number_of_its_own() -> None:
    numbers = {kernel_number(TABLE[cell].kernel) for cell in WITH_KERNEL}
    assert len(numbers) == len(WITH_KERNEL) > 0
    assert TABLE["gru-before"].kernel == "gru-before"


@pytest.mark.parametrize("name", ["", "gru-", "GRU", "lstm-before", "no such cell", "löstm"])
def test_a_cell_without_a_kernel_is_named_in_the_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'"):
        kernel_number(name)


def test_no_kernel_is_forgotten_in_the_table() -> None:
    for cell in set(CELLS) - set(WITH_KERNEL):
        with pytest.raises(ValueError, match=f"'{cell}'"):
            kernel_number(cell)
    # The kernels are numbered from 0: as many as the table names, and no other.
    assert {kernel_number(TABLE[cell].kernel) for cell in WITH_KERNEL} == set(range(len(WITH_KERNEL)))


@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_a_kernel_has_the_gates_and_states_of_its_cell(cell: str) -> None:
    facts = cell_facts(kernel_number(TABLE[cell].kernel))
    assert facts.num_gates == TABLE[cell].num_gates
    assert 1 + facts.has_cell == len(TABLE[cell].states)
    assert bool(facts.has_cell) == (cell == "lstm")
    assert bool(facts.has_grad_new) == (cell == "gru")
    assert facts.new_factors < facts.num_saved
