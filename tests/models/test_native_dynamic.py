"""Dynamic evaluation in C against the equations and autograd in float64, and what its states promise."""

import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from cells import TABLE, WITH_KERNEL
from small_network import SHAPES, V, name_of, random_weights, shape_of
from torch.func import functional_call
from torch.nn import functional as F

from charrnn.errors import InputError, NonFiniteError
from charrnn.models.layer import UNROLLED
from charrnn.models.native import build
from charrnn.models.native.dynamic import NativeDynamicNetwork
from charrnn.models.network import CharRNN
from charrnn.models.settings import DynamicSettings, SamplingSettings

pytestmark = pytest.mark.skipif(build.library() is None, reason=f"no native kernels here: {build.unavailable_reason()}")

WITH_KERNELS = [settings for settings in SHAPES if settings.cell in WITH_KERNEL]
# Units and symbols: less than a vector; more than a panel; whole panels; a single one.
LARGER = [
    shape_of(cell=cell, num_layers=2, hidden_size=hidden_size, vocab_size=vocab_size, input=kind)
    for cell in WITH_KERNEL
    for hidden_size, vocab_size in ((33, 40), (70, 5), (64, 33), (1, 2))
    for kind in ("one-hot", "embedding")
]


def weights_for(settings):
    """Weights whose sums stay near 1 whatever the size, so that rounding does not grow from step to step."""
    return random_weights(settings, scale=0.7 * min(1, (4 / settings.hidden_size) ** 0.5))


def text_for(settings, length, *, seed=0):
    return np.random.default_rng(seed).integers(0, settings.vocab_size, (length + 1, 1))


def by_autograd(settings, weights, ids, dynamic, *, reads_half=False):
    """Nats (T, 1) of the method as it is written down, in float64, and the norm of each segment's gradient.

    With ``reads_half`` the recurrent weights are rounded to half precision wherever they are multiplied, and so are the
    trained ones that they decay to.
    """
    network = CharRNN(settings, UNROLLED).double()
    network.set_weights({name: torch.from_numpy(weight) for name, weight in weights.items()})
    learned = list(network.weights().values())
    trained = [weight.detach().clone() for weight in learned]
    if reads_half:
        names = network.weights()
        trained = [w.half().double() if n.endswith("weight_hh") else w for n, w in zip(names, trained, strict=True)]
    state, found, norms = network.zero_state(1), [], []
    for begin in range(0, len(ids) - 1, dynamic.segment):
        end = min(begin + dynamic.segment, len(ids) - 1)
        read = network.weights()
        for name in read if reads_half else ():
            if name.endswith("weight_hh"):
                read[name] = read[name] + (read[name].half().double() - read[name]).detach()
        logits, after = functional_call(network, read, (torch.from_numpy(ids[begin:end]), state))
        nats = F.cross_entropy(logits[:, 0], torch.from_numpy(ids[begin + 1 : end + 1, 0]), reduction="none")
        found.append(nats.detach().numpy())
        gradients = torch.autograd.grad(nats.mean(), learned)
        norms.append(float(torch.sqrt(sum(gradient.square().sum() for gradient in gradients))))
        with torch.no_grad():
            for weight, gradient, origin in zip(learned, gradients, trained, strict=True):
                weight -= dynamic.learning_rate / max(1.0, norms[-1]) * gradient
                weight += dynamic.decay * (origin - weight)
        state = after.map(torch.Tensor.detach)
    return np.concatenate(found)[:, None], norms


def score(network, ids):
    return network.score(ids[:-1], ids[1:], network.zero_state(1))


# Each update rounds some thousand sums of values near 1 by 6e-8 each, and the steps after it carry that on.
TOLERANCE = 1e-5


@pytest.mark.parametrize("settings", WITH_KERNELS + LARGER, ids=lambda each: f"{name_of(each)}-{each.hidden_size}")
@pytest.mark.parametrize("segment", [1, 5])
def test_its_scores_are_those_of_autograd_in_double_precision(settings, segment):
    weights, ids = weights_for(settings), text_for(settings, 4 * segment + 3)
    dynamic = DynamicSettings(segment=segment, learning_rate=0.4, decay=0.25)
    expected, _ = by_autograd(settings, weights, ids, dynamic)
    nats, _ = score(NativeDynamicNetwork(settings, weights, dynamic), ids)
    np.testing.assert_allclose(nats, expected, rtol=0, atol=TOLERANCE)
    still, _ = score(NativeDynamicNetwork(settings, weights, DynamicSettings(segment=segment, learning_rate=0)), ids)
    np.testing.assert_array_equal(nats[:segment], still[:segment])
    # What is learned is far more than what is rounded, or the comparison would say little.
    assert abs(nats - still)[segment:].max() > 100 * TOLERANCE


@pytest.mark.parametrize(("scale", "is_clipped"), [(0.1, False), (6.0, True)])
@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_a_gradient_is_clipped_where_its_norm_exceeds_one(cell, scale, is_clipped):
    settings = shape_of(cell=cell, hidden_size=9)
    weights, ids = weights_for(settings), text_for(settings, 60)
    weights["output.weight"] *= scale
    dynamic = DynamicSettings(segment=20, learning_rate=0.5, decay=0.1)
    expected, norms = by_autograd(settings, weights, ids, dynamic)
    assert all((norm > 1) == is_clipped for norm in norms), norms
    nats, _ = score(NativeDynamicNetwork(settings, weights, dynamic), ids)
    np.testing.assert_allclose(nats, expected, rtol=0, atol=2 * TOLERANCE)  # logits up to 10


@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_a_segment_of_more_steps_than_a_panel_has_columns_is_learned_from(cell):
    settings = shape_of(cell=cell, hidden_size=17, num_layers=2, input="embedding")
    weights, ids = weights_for(settings), text_for(settings, 150)
    dynamic = DynamicSettings(segment=70, learning_rate=0.4, decay=0.25)
    expected, _ = by_autograd(settings, weights, ids, dynamic)
    nats, _ = score(NativeDynamicNetwork(settings, weights, dynamic), ids)
    np.testing.assert_allclose(nats, expected, rtol=0, atol=2 * TOLERANCE)  # more steps, and so more of the same


# Each with a few more than 2^18 recurrent weights in a layer.
HALVED = [
    shape_of(cell=cell, hidden_size=round((2**18 / TABLE[cell].num_gates) ** 0.5) + 1, num_layers=num_layers)
    for cell in WITH_KERNEL
    for num_layers in (1, 2)
]


@pytest.mark.parametrize("settings", HALVED, ids=name_of)
def test_of_many_recurrent_weights_those_multiplied_are_rounded_to_half(settings):
    if platform.machine().lower() not in ("arm64", "aarch64") and "f16c" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor does not know half precision")
    # Halved besides, or what a vanilla cell rounds would grow from step to step.
    weights = {name: weight / 2 for name, weight in weights_for(settings).items()}
    ids, dynamic = text_for(settings, 33), DynamicSettings(segment=8, learning_rate=0.4, decay=0.1)
    expected, _ = by_autograd(settings, weights, ids, dynamic, reads_half=True)
    nats, last = score(NativeDynamicNetwork(settings, weights, dynamic), ids)
    np.testing.assert_allclose(nats, expected, rtol=0, atol=TOLERANCE)
    found, after = score(NativeDynamicNetwork(settings, weights, dynamic, num_threads=3), ids)
    np.testing.assert_array_equal(found, nats)
    np.testing.assert_array_equal(after.weights, last.weights)
    # What that changes: each weight is off by up to 2^-12 of itself, now in one direction, now in the other.
    exact, _ = by_autograd(settings, weights, ids, dynamic)
    assert 5 * abs(nats - expected).max() < abs(nats - exact).max() < 1e-4
    assert abs((nats - exact).mean()) < 1e-5


# Of enough recurrent weights for three threads to share them, and too few to be halved.
SHARED = [
    shape_of(cell=cell, hidden_size=round((2**17.7 / TABLE[cell].num_gates) ** 0.5), num_layers=2, input=kind)
    for cell in WITH_KERNEL
    for kind in ("one-hot", "embedding")
]


@pytest.mark.parametrize("settings", LARGER + SHARED, ids=lambda each: f"{name_of(each)}-{each.hidden_size}")
def test_neither_threads_nor_grouping_change_a_bit(settings):
    weights, ids = weights_for(settings), text_for(settings, 50)
    dynamic = DynamicSettings(segment=7, learning_rate=0.4, decay=0.1)
    network = NativeDynamicNetwork(settings, weights, dynamic)
    nats, last = score(network, ids)
    for num_threads in (2, 3, 8):
        found, after = score(NativeDynamicNetwork(settings, weights, dynamic, num_threads=num_threads), ids)
        np.testing.assert_array_equal(found, nats)
        np.testing.assert_array_equal(after.weights, last.weights)
    for length in (1, 3, 7, 20):
        state, parts = network.zero_state(1), []
        for begin in range(0, 50, length):
            end = min(begin + length, 50)
            part, state = network.score(ids[begin:end], ids[begin + 1 : end + 1], state)
            parts.append(part)
        np.testing.assert_array_equal(np.concatenate(parts), nats)
        np.testing.assert_array_equal(state.weights, last.weights)
        np.testing.assert_array_equal(state.network[0], last.network[0])
        np.testing.assert_array_equal(state.segment, ids[49:50, 0])


def test_an_old_state_gives_its_old_numbers_again_whatever_was_read_since():
    settings = shape_of(cell="lstm", num_layers=2)
    network = NativeDynamicNetwork(settings, weights_for(settings), DynamicSettings(segment=4, learning_rate=1.0))
    ids = text_for(settings, 60)
    states, found = [network.zero_state(1)], []
    for t in range(30):
        logits, state = network.step(ids[t], states[-1])
        states.append(state)
        found.append(logits)
    for t in np.random.default_rng(1).permutation(30):
        # Two ways on from each state, that of other symbols first.
        network.score(ids[31:51], ids[32:52], states[t])
        logits, state = network.step(ids[t], states[t])
        np.testing.assert_array_equal(logits, found[t])
        np.testing.assert_array_equal(state.weights, states[t + 1].weights)


def test_the_weights_are_copied_only_where_a_segment_is_learned_from():
    settings = shape_of(cell="gru")
    network = NativeDynamicNetwork(settings, weights_for(settings), DynamicSettings(segment=4, learning_rate=1.0))
    state, blocks = network.zero_state(1), []
    for t in range(13):
        blocks.append(state.weights)
        _, state = network.step(np.array([t % V]), state)
    # Symbols 5, 9 and 13 end the wait of the segments before them.
    changes = [t for t in range(1, 13) if blocks[t] is not blocks[t - 1]]
    assert changes == [5, 9]
    assert state.weights is not blocks[-1]


def test_several_threads_may_read_with_one_network_at_once():
    settings = shape_of(cell="gru", hidden_size=240)
    network = NativeDynamicNetwork(settings, weights_for(settings), num_threads=2)
    texts = [text_for(settings, 100, seed=seed) for seed in range(6)]
    alone = [score(network, ids)[0] for ids in texts]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda ids: score(network, ids)[0], texts))
    np.testing.assert_array_equal(together, alone)


def test_bad_symbols_shapes_and_widths_are_refused():
    settings = shape_of(cell="gru")
    network = NativeDynamicNetwork(settings, weights_for(settings))
    state, one = network.zero_state(1), np.zeros((1, 1), np.int64)
    for bad in (-1, V):
        for ids, targets in ((one + bad, one), (one, one + bad)):
            with pytest.raises(InputError, match=f"{V} symbols"):
                network.score(ids, targets, state)
        with pytest.raises(InputError, match=f"{V} symbols"):
            network.step(one[0] + bad, state)
    with pytest.raises(InputError, match="one shape"):
        network.score(np.zeros((2, 1), np.int64), one, state)
    with pytest.raises(ValueError, match="one stream"):
        network.score(np.zeros((3, 2), np.int64), np.zeros((3, 2), np.int64), state)
    with pytest.raises(ValueError, match="one stream"):
        network.step(np.zeros(2, np.int64), state)
    uniforms = np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match="one stream"):
        network.generate(np.zeros(2, np.int64), state, uniforms=uniforms, sampling=SamplingSettings())
    with pytest.raises(InputError, match=r"output\.weight"):
        NativeDynamicNetwork(settings, weights_for(settings) | {"output.weight": np.zeros((2, 2), np.float32)})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_gradient_that_is_not_finite_is_never_applied(bad, num_threads):
    settings = shape_of(cell="gru", hidden_size=240)
    weights = weights_for(settings)
    weights["output.bias"][3] = bad
    network = NativeDynamicNetwork(settings, weights, DynamicSettings(segment=4), num_threads=num_threads)
    ids, state = text_for(settings, 12), network.zero_state(1)
    with pytest.raises(NonFiniteError):
        network.score(ids[:-1], ids[1:], state)
    _, after = network.score(ids[:4], ids[1:5], state)
    np.testing.assert_array_equal(after.weights, state.weights)


def test_it_needs_no_torch():
    code = """
import sys
import numpy as np
from charrnn.models.open import open_dynamic
from charrnn.models.settings import ModelSettings
settings = ModelSettings(vocab_size=3, hidden_size=4)
weights = {name: np.zeros(shape, np.float32) for name, shape in settings.parameter_shapes().items()}
network = open_dynamic(settings, weights)
network.score(np.zeros((40, 1), int), np.zeros((40, 1), int), network.zero_state(1))
print(type(network).__name__, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["NativeDynamicNetwork", "False"]
