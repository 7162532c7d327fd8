"""Gradients of windows by kernels alone against those that torch's backward pass has from the same kernels."""

import pytest
import torch
from cells import WITH_KERNEL

from charrnn.models.cells import State
from charrnn.models.layer import Backend
from charrnn.models.native import build
from charrnn.models.network import CharRNN
from charrnn.models.settings import ModelSettings

pytestmark = pytest.mark.skipif(build.library() is None, reason=f"no native kernels here: {build.unavailable_reason()}")

gradients = pytest.importorskip("charrnn.models.native.gradients")
tensors = pytest.importorskip("charrnn.models.native.tensors")

STEPS, STREAMS, SYMBOLS = 7, 3, 11


def network(cell, *, precision="float32", bias=True, dropouts=(0.0, 0.0)):
    settings = ModelSettings(vocab_size=SYMBOLS, cell=cell, hidden_size=20, bias=bias)
    backend = Backend("native", 2, precision)
    made = CharRNN(settings, backend, dropout=dropouts[0], weight_dropout=dropouts[1])
    made.initialize(1)
    return made


def by_kernels(made, dropouts=(0.0, 0.0)):
    weights = {name: weight.detach() for name, weight in made.weights().items()}
    shares = dict(zip(("dropout", "weight_dropout"), dropouts, strict=True))
    return gradients.WindowGradients(made.settings, weights, made.backend, **shares, window_shape=(STEPS, STREAMS))


def window(seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, SYMBOLS, (STEPS + 1, STREAMS), generator=generator)
    return ids[:-1], ids[1:]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dropouts", [(0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.4, 0.3)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_losses_states_and_gradients_are_torchs_to_the_last_bit(cell, bias, dropouts, precision):
    if precision == "bfloat16" and not tensors.has_bfloat16():
        pytest.skip("this processor has no products of bfloat16")
    made = network(cell, precision=precision, bias=bias, dropouts=dropouts)
    computed = by_kernels(made, dropouts)
    state = other = made.zero_state(STREAMS)
    for step in range(3):  # what a window leaves in the arrays must not reach the next
        ids, targets = window(step)
        wanted, state = made.loss(ids, targets, state, noise=100 * step)
        made.zero_grad()
        wanted.backward()
        found, other = computed.run(ids, targets, other, noise=100 * step)
        assert torch.equal(found, wanted.detach())
        assert all(torch.equal(one, two) for one, two in zip(other, state, strict=True))
        for name, weight in made.weights().items():
            assert torch.equal(computed.gradients[name], weight.grad), name
        state = state.map(torch.Tensor.detach)
        with torch.no_grad():  # the next window is that of other weights
            for weight in made.weights().values():
                weight -= 0.1 * weight.grad


def test_windows_of_another_shape_or_type_are_refused_before_c_reads_them():
    made = network("lstm")
    computed, state, (ids, targets) = by_kernels(made), made.zero_state(STREAMS), window(0)
    with pytest.raises(RuntimeError, match="ids is"):
        computed.run(ids[1:], targets, state, noise=0)
    with pytest.raises(RuntimeError, match="targets is"):
        computed.run(ids, targets.float(), state, noise=0)
    with pytest.raises(IndexError, match="outside the table"):
        computed.run(ids + SYMBOLS, targets, state, noise=0)
    with pytest.raises(RuntimeError):
        computed.run(ids, targets, State(part[:, 1:] for part in state), noise=0)


def test_it_is_for_one_layer_of_one_hot_input_computed_by_kernels():
    settings = ModelSettings(vocab_size=5, hidden_size=4)
    assert gradients.suits(settings, Backend("native"))
    assert not gradients.suits(settings, Backend("fused"))
    assert not gradients.suits(ModelSettings(vocab_size=5, hidden_size=4, num_layers=2), Backend("native"))
    assert not gradients.suits(
        ModelSettings(vocab_size=5, hidden_size=4, input="embedding", embedding_size=3), Backend("native")
    )
