"""One layer by each of its paths: the same numbers, with their gradients, and the same weights dropped."""

import itertools
from dataclasses import replace

import pytest
import torch
from cells import CELLS, OF_TORCH, WITH_KERNEL
from small_network import B, H, T, V, shape_of

from charrnn.models.cells import CELLS as TABLE
from charrnn.models.layer import UNROLLED, Backend, project
from charrnn.models.native.build import library, unavailable_reason
from charrnn.models.network import CharRNN

FORMS = [
    {"num_layers": layers, "input": kind, "bias": bias}
    for layers, kind, bias in ((1, "one-hot", True), (3, "embedding", True), (2, "one-hot", False))
]


def need_kernels():
    if library() is None:
        pytest.skip(f"no kernels: {unavailable_reason()}")


def computed(settings, backend, *, dtype, num_streams=B):
    """Logits, states and all gradients of a network with the weights of one seed."""
    model = CharRNN(settings, UNROLLED)
    model.initialize(1)
    model = model.to(dtype)
    model.backend = backend
    torch.manual_seed(5)
    state = model.zero_state(num_streams).map(lambda part: torch.randn(part.shape).to(dtype).requires_grad_())
    torch.manual_seed(6)
    logits, after = model(torch.randint(0, V, (T, num_streams)), state)
    (logits.square().sum() + sum(part.sum() for part in after)).backward()
    return [logits, *after, *(part.grad for part in state), *(w.grad for w in model.weights().values())]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("cell", OF_TORCH)
def test_torchs_fused_operators_and_the_unrolled_equations_agree_in_everything(cell, form):
    settings = shape_of(cell=cell, **form)
    fused = computed(settings, Backend("fused"), dtype=torch.float64)
    for found, expected in zip(fused, computed(settings, UNROLLED, dtype=torch.float64), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)  # float64 rounding through a backward pass


# Of 7 symbols, 6 rows are cheaper to project than the embedding's table, and of 15 the table is.
@pytest.mark.parametrize(("form", "num_streams"), [*zip(FORMS, itertools.repeat(B)), (FORMS[1], 5)], ids=str)
@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_the_kernels_and_the_unrolled_equations_agree_in_everything(cell, form, num_streams):
    need_kernels()
    settings = shape_of(cell=cell, **form)
    native = computed(settings, Backend("native"), dtype=torch.float32, num_streams=num_streams)
    exact = computed(settings, UNROLLED, dtype=torch.float64, num_streams=num_streams)
    for found, expected in zip(native, exact, strict=True):
        scale = max(1.0, expected.abs().max().item())
        # float32 through at most nine cells and back, by the largest entry.
        assert (found - expected).abs().max().item() <= 1e-5 * scale


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_without_operator_or_kernel_takes_its_equations(monkeypatch, cell):
    settings = shape_of(cell=cell, num_layers=2)
    expected = computed(settings, UNROLLED, dtype=torch.float64)
    monkeypatch.setitem(TABLE, cell, replace(TABLE[cell], fused="", kernel=""))
    for path in ("fused", "native"):
        assert all(map(torch.equal, computed(settings, Backend(path), dtype=torch.float64), expected))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("path", ["native", "fused", "unrolled"])
def test_recurrent_weights_dropped_in_training_come_back_in_evaluation(cell, path):
    if path == "native":
        need_kernels()
    settings = shape_of(cell=cell, hidden_size=12, num_layers=2)
    model = CharRNN(settings, Backend(path), weight_dropout=0.25)
    model.initialize(0)
    ids = torch.randint(0, V, (5, 3), generator=torch.Generator().manual_seed(1))
    state = model.zero_state(3).map(torch.ones_like)
    dropped, _ = model.train()(ids, state, noise=2)
    dropped.square().sum().backward()
    for name in ("layers.0.weight_hh", "layers.1.weight_hh"):
        gradient = model.weights()[name].grad
        # A share of exact zeros near the probability: 144 weights and more, three standard errors.
        share = float((gradient == 0).double().mean())
        assert share == pytest.approx(0.25, abs=3 * (0.25 * 0.75 / gradient.numel()) ** 0.5)
    plain = CharRNN(settings, Backend(path))
    plain.set_weights(model.weights())
    assert torch.equal(model.eval()(ids, state)[0], plain.eval()(ids, state)[0])
    assert not torch.equal(dropped, plain(ids, state)[0])


@pytest.mark.parametrize("bias", [True, False])
def test_a_projection_rounds_its_factors_on_the_native_path_alone(bias):
    torch.manual_seed(7)
    inputs, weight = torch.randn(T, B, H), torch.randn(V, H)
    given = torch.randn(V) if bias else None
    exact = inputs.double() @ weight.double().T + (given.double() if bias else 0)
    for backend in (Backend("native"), Backend("fused", precision="bfloat16"), UNROLLED):
        found = project(inputs, weight, given, backend)
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6)  # float32 sums of four terms near 1
    rounded = project(inputs, weight, given, Backend("native", precision="bfloat16"))
    assert rounded.dtype == torch.float32
    off = (rounded - exact).abs().max().item()
    assert 1e-4 < off < 0.1  # bfloat16 keeps 8 bits
