"""The output layer and its loss by the C kernel against the same in float64."""

import pytest
import torch
from torch.nn import functional as F

from charrnn.models.native import build

pytestmark = pytest.mark.skipif(build.library() is None, reason=f"no native kernels here: {build.unavailable_reason()}")

output = pytest.importorskip("charrnn.models.native.output")
tensors = pytest.importorskip("charrnn.models.native.tensors")

SIZES = [(1, 1, 1), (5, 3, 2), (17, 33, 40), (64, 64, 64), (130, 70, 300)]  # N, H, V
# float32 sums of up to 300 terms; bfloat16 factors have 8 bits.
TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2}


def inputs(sizes, *, bias=True):
    num_rows, size, num_symbols = sizes
    generator = torch.Generator().manual_seed(num_rows)
    hidden = torch.randn(num_rows, size, generator=generator).requires_grad_()
    weight = (torch.randn(num_symbols, size, generator=generator) / size**0.5).requires_grad_()
    shift = torch.randn(num_symbols, generator=generator).requires_grad_() if bias else None
    return hidden, weight, shift, torch.randint(0, num_symbols, (num_rows,), generator=generator)


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_loss_and_gradients_are_those_of_the_equations(sizes, bias, precision):
    if precision == "bfloat16" and not tensors.has_bfloat16():
        pytest.skip("this processor has no products of bfloat16")
    hidden, weight, shift, targets = inputs(sizes, bias=bias)
    leaves = [leaf for leaf in (hidden, weight, shift) if leaf is not None]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = F.cross_entropy(F.linear(*exact), targets)
    expected.backward()
    results = []
    for num_threads in (1, 2, 5):
        for leaf in leaves:
            leaf.grad = None
        loss = output.output_loss(hidden, weight, shift, targets, num_threads=num_threads, precision=precision)
        loss.backward()
        results.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    assert all(torch.equal(one, other) for later in results[1:] for one, other in zip(results[0], later, strict=True))
    tolerance = TOLERANCES[precision]
    for found, wanted in zip(results[0], [expected.detach(), *(leaf.grad for leaf in exact)], strict=True):
        largest = max(float(wanted.abs().max()), 1e-3)
        assert (found.double() - wanted).abs().max().item() <= tolerance * largest


def test_a_scaled_loss_has_scaled_gradients():
    hidden, weight, shift, targets = inputs((9, 4, 6))
    gradients = []
    for scale in (1.0, -3.0):
        hidden.grad = None
        (scale * output.output_loss(hidden, weight, shift, targets, num_threads=1)).backward()
        gradients.append(hidden.grad)
    torch.testing.assert_close(gradients[1], -3.0 * gradients[0])


def test_a_value_that_is_not_finite_is_not_hidden():
    hidden, weight, shift, targets = inputs((20, 4, 6))
    with torch.no_grad():
        hidden[11, 2] = float("nan")
    loss = output.output_loss(hidden, weight, shift, targets, num_threads=2)
    loss.backward()
    assert loss.isnan()
    assert weight.grad.isnan().any()


@pytest.mark.parametrize("wrong", [-1, 6])
def test_a_target_that_is_no_symbol_is_refused(wrong):
    hidden, weight, shift, targets = inputs((9, 4, 6))
    targets[4] = wrong
    with pytest.raises(IndexError, match="an id is outside"):
        output.output_loss(hidden, weight, shift, targets, num_threads=1)


def test_arrays_of_other_sizes_are_refused_before_c_reads_them():
    hidden, weight, shift, targets = inputs((9, 4, 6))
    with pytest.raises(RuntimeError, match=r"weight is .*\(6, 3\)"):
        output.output_loss(hidden, weight[:, :3], shift, targets, num_threads=1)
    with pytest.raises(RuntimeError, match="targets is"):
        output.output_loss(hidden, weight, shift, targets[:8], num_threads=1)
    with pytest.raises(RuntimeError, match=r"torch\.float64"):
        output.output_loss(hidden.double(), weight, shift, targets, num_threads=1)
