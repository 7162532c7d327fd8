"""What everything that predicts promises, held by all that predict: networks, counts and mixtures.

Those that learn while they read, such as a network under dynamic evaluation, read one stream; the others read two.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from cells import CELLS, WITH_KERNEL
from small_counts import fixed_counts, growing_counts
from small_network import V, random_weights, shape_of

from charrnn.errors import NonFiniteError
from charrnn.models.cells import State
from charrnn.models.counts.predictor import CountsState, GrowingState
from charrnn.models.counts.tables import READER
from charrnn.models.dynamic import DynamicNetwork, DynamicState
from charrnn.models.layer import Backend
from charrnn.models.mixture.predictor import Mixture, MixtureState, MixtureWeights
from charrnn.models.native.build import library, unavailable_reason
from charrnn.models.native.dynamic import NativeDynamicNetwork, NativeDynamicState
from charrnn.models.native.network import NativeNetwork
from charrnn.models.network import CharRNN, TorchNetwork
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.predictor import nats_of
from charrnn.models.sampling import choose, probabilities
from charrnn.models.settings import DynamicSettings, SamplingSettings
from charrnn.models.tree import Tree, weighted_cuts
from charrnn.text.utf8 import ALLOWED, START, TRANSITIONS

T = 11
# float32 sums of a dozen terms near 1, through three layers and T steps; of values up to 10.
TOLERANCE = 2e-5


def torch_network(settings, weights):
    network = CharRNN(settings, Backend("fused"))
    network.set_weights({name: torch.from_numpy(weight) for name, weight in weights.items()})
    return TorchNetwork(network)


LEARNS = DynamicSettings(segment=4, learning_rate=0.2, decay=0.05)


def learning_network(settings, weights):
    return DynamicNetwork(settings, weights, LEARNS)


def native_learning_network(settings, weights):
    return NativeDynamicNetwork(settings, weights, LEARNS)


def double_network(settings, weights):
    return NumpyNetwork(settings, weights, dtype=np.float64)


def counts(settings, _):
    return fixed_counts(settings.vocab_size, length=200)


def counts_that_grow(settings, _):
    return growing_counts(settings.vocab_size, length=200)


def mixture(settings, weights, *, learns=False, of=(double_network, counts)):
    members = [member(settings, weights) for member in of]
    num_symbols = settings.vocab_size
    tree = Tree(weighted_cuts(np.ones(num_symbols)))
    return Mixture(members, tree, MixtureWeights.from_shares([0.6, 0.4], num_symbols), learns=learns)


def learning_mixture(settings, weights):
    return mixture(settings, weights, learns=True, of=(learning_network, counts_that_grow))


NETWORKS = {
    "native": NativeNetwork,
    "numpy": NumpyNetwork,
    "double": double_network,
    "torch": torch_network,
    "dynamic": learning_network,
    "native dynamic": native_learning_network,
}
KINDS = NETWORKS | {
    "counts": counts,
    "growing counts": counts_that_grow,
    "mixture": mixture,
    "learning mixture": learning_mixture,
}
LEARNING = ("dynamic", "native dynamic", "growing counts", "learning mixture")
FIXED = [kind for kind in KINDS if kind not in LEARNING]


def make(kind, cell="lstm", *, scale=0.7, **shape):
    settings = shape_of(cell=cell, num_layers=2, **shape)
    if kind.startswith("native") and library() is None:
        pytest.skip(f"no native kernels here: {unavailable_reason()}")
    if kind.startswith("native") and cell not in WITH_KERNEL:
        pytest.skip("no kernel is written for this cell")
    return KINDS[kind](settings, random_weights(settings, scale=scale))


def width_of(kind):
    """B: streams that a predictor of that kind reads at once in these tests."""
    return 1 if kind in LEARNING else 2


def text_for(kind, length=T, *, seed=1):
    return np.random.default_rng(seed).integers(0, V, (length + 1, width_of(kind)))


def copied(state):
    """A copy of a state that shares no memory with it."""
    if isinstance(state, DynamicState):
        weights = tuple(weight.clone() for weight in state.weights)
        return DynamicState(weights, copied(state.network), state.segment.copy())
    if isinstance(state, NativeDynamicState):
        return NativeDynamicState(state.weights.copy(), copied(state.network), state.saved.copy(), state.segment.copy())
    if isinstance(state, CountsState):
        return CountsState(state.readers.copy())
    if isinstance(state, GrowingState):
        return replace(state, readers=state.readers.copy())
    if isinstance(state, MixtureState):
        return replace(state, members=tuple(map(copied, state.members)), weights=state.weights.copy())
    return state.map(lambda part: part.clone() if isinstance(part, torch.Tensor) else part.copy())


def parts_of(state):
    if isinstance(state, DynamicState):
        return [*state.weights, *parts_of(state.network), state.segment]
    if isinstance(state, NativeDynamicState):
        return [state.weights, *parts_of(state.network), state.saved, state.segment]
    if isinstance(state, CountsState | GrowingState):
        return [state.readers[name] for name in READER.names]
    if isinstance(state, MixtureState):
        said = state.said or ()
        return [*(part for member in state.members for part in parts_of(member)), *state.weights, *said]
    return list(state)


def same(one, other):
    """Whether two states are equal to the last bit."""
    return all(np.array_equal(a, b) for a, b in zip(parts_of(one), parts_of(other), strict=True))


of_every_kind = pytest.mark.parametrize("kind", KINDS)


def of_every_cell(*kinds):
    """A mark for tests of kinds, the networks among them with every cell."""
    pairs = [(kind, cell) for kind in kinds for cell in (CELLS if kind in NETWORKS else CELLS[:1])]
    return pytest.mark.parametrize(("kind", "cell"), pairs)


@of_every_cell(*KINDS)
def test_a_score_is_what_steps_one_after_the_other_give(kind, cell):
    predictor, ids = make(kind, cell), text_for(kind)
    nats, scored = predictor.score(ids[:-1], ids[1:], predictor.zero_state(width_of(kind)))
    assert (nats.shape, nats.dtype) == ((T, width_of(kind)), np.float64)
    state = predictor.zero_state(width_of(kind))
    for t in range(T):
        logits, state = predictor.step(ids[t], state)
        assert logits.shape == (width_of(kind), V)
        np.testing.assert_allclose(nats[t], nats_of(logits, ids[t + 1]), rtol=0, atol=TOLERANCE)
    for found, expected in zip(parts_of(scored), parts_of(state), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@of_every_cell(*KINDS)
def test_probabilities_of_all_symbols_sum_to_one(kind, cell):
    predictor, ids = make(kind, cell), text_for(kind)
    width = width_of(kind)
    _, state = predictor.score(ids[:-1], ids[1:], predictor.zero_state(width))
    total = np.zeros(width)
    for symbol in range(predictor.num_symbols):
        nats, _ = predictor.score(ids[-1:], np.full((1, width), symbol), state)
        total += np.exp(-nats[0])
    assert predictor.num_symbols == V
    np.testing.assert_allclose(total, 1, rtol=1e-6)  # logits in float32


@of_every_cell(*KINDS)
@pytest.mark.parametrize("cuts", [(1,), (4,), (6, 7), (2, 5, 9), tuple(range(1, T))], ids=str)
def test_however_a_text_is_cut_the_numbers_are_the_same(kind, cell, cuts):
    predictor, ids = make(kind, cell), text_for(kind)
    whole, _ = predictor.score(ids[:-1], ids[1:], predictor.zero_state(width_of(kind)))
    state, parts = predictor.zero_state(width_of(kind)), []
    for begin, end in zip((0, *cuts), (*cuts, T), strict=True):
        nats, state = predictor.score(ids[begin:end], ids[begin + 1 : end + 1], state)
        parts.append(nats)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=TOLERANCE)


@of_every_kind
@pytest.mark.parametrize("at", range(1, T))
def test_what_comes_later_changes_nothing_predicted_before(kind, at):
    predictor, ids = make(kind), text_for(kind)
    nats, _ = predictor.score(ids[:-1], ids[1:], predictor.zero_state(width_of(kind)))
    other = ids.copy()
    other[at + 1 :] = (other[at + 1 :] + 1 + np.random.default_rng(2).integers(0, V - 1, other[at + 1 :].shape)) % V
    assert (other[at + 1 :] != ids[at + 1 :]).all()
    changed, _ = predictor.score(other[:-1], other[1:], predictor.zero_state(width_of(kind)))
    # To the last bit: the same products of the same heights.
    np.testing.assert_array_equal(changed[:at], nats[:at])
    assert (changed[at] != nats[at]).all()  # another symbol is predicted here


@of_every_cell(*KINDS)
def test_a_state_that_is_given_stays_as_it_was(kind, cell):
    predictor, ids = make(kind, cell), text_for(kind)
    width = width_of(kind)
    _, state = predictor.score(ids[:6], ids[1:7], predictor.zero_state(width))
    kept = copied(state)
    first, after = predictor.step(ids[6], state)
    predictor.score(ids[6:-1], ids[7:], state)
    predictor.generate(ids[6], state, uniforms=np.full((9, width), 0.5), sampling=SamplingSettings())
    assert same(state, kept)
    # Nor is anything remembered beside the state.
    again, after_again = predictor.step(ids[6], copied(state))
    np.testing.assert_array_equal(again, first)
    assert same(after_again, after)
    assert not same(after, state)


@of_every_kind
def test_a_new_state_is_that_of_the_start_whatever_was_read_before(kind):
    predictor, ids = make(kind), text_for(kind)
    width = width_of(kind)
    first, _ = predictor.score(ids[:-1], ids[1:], predictor.zero_state(width))
    again, _ = predictor.score(ids[:-1], ids[1:], predictor.zero_state(width))
    np.testing.assert_array_equal(again, first)


@of_every_cell(*FIXED)
@pytest.mark.parametrize("chosen", [[1], [1, 0], [0, 0, 1], np.zeros(3, np.intp)], ids=str)
def test_streams_taken_out_of_a_state_go_on_as_they_would_have(kind, cell, chosen):
    predictor, ids = make(kind, cell), text_for(kind)
    _, state = predictor.score(ids[:5], ids[1:6], predictor.zero_state(2))
    assert isinstance(state, State | CountsState | MixtureState)
    logits, after = predictor.step(ids[5], state)
    some, some_after = predictor.step(ids[5][chosen], state.of_streams(chosen))
    np.testing.assert_allclose(some, logits[chosen], rtol=0, atol=TOLERANCE)
    for found, expected in zip(parts_of(some_after), parts_of(after.of_streams(chosen)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@of_every_cell("native", "numpy", "double", "counts", "mixture")
def test_a_streams_steps_do_not_depend_on_its_neighbours_to_the_last_bit(kind, cell):
    predictor = make(kind, cell, vocab_size=53, hidden_size=67, scale=0.2)
    ids = np.random.default_rng(2).integers(0, 53, (9, 13))
    states = [predictor.zero_state(1) for _ in range(13)]
    state = predictor.zero_state(13)
    for row in ids:
        logits, state = predictor.step(row, state)
        for b in range(13):
            alone, states[b] = predictor.step(row[b : b + 1], states[b])
            np.testing.assert_array_equal(alone[0], logits[b])


@of_every_cell(*FIXED)
def test_a_streams_score_does_not_depend_on_its_neighbours(kind, cell):
    predictor = make(kind, cell)
    ids = np.random.default_rng(6).integers(0, V, (T + 1, 9))
    nats, _ = predictor.score(ids[:-1], ids[1:], predictor.zero_state(9))
    for b in range(9):
        alone, _ = predictor.score(ids[:-1, [b]], ids[1:, [b]], predictor.zero_state(1))
        np.testing.assert_allclose(alone[:, 0], nats[:, b], rtol=0, atol=TOLERANCE)


SAMPLINGS = [
    SamplingSettings(),
    SamplingSettings(temperature=0),
    SamplingSettings(temperature=1.4, top_k=5, top_p=0.9, min_p=0.05),
]


@of_every_cell(*KINDS)
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_generating_is_stepping_and_choosing_in_turn(kind, cell, sampling):
    predictor, width = make(kind, cell), width_of(kind)
    uniforms = np.random.default_rng(3).random((T, width))
    start = np.array([1, 2])[:width]
    drawn, after, marks = predictor.generate(start, predictor.zero_state(width), uniforms=uniforms, sampling=sampling)
    assert marks is None
    ids, state = start, predictor.zero_state(width)
    for t in range(T):
        logits, state = predictor.step(ids, state)
        if sampling.temperature:
            cumulative = np.cumsum(probabilities(logits, sampling), axis=1)
            cumulative /= cumulative[:, -1:]
            # A uniform within a rounding of a boundary could fall to either side; none of these does.
            assert np.abs(cumulative - uniforms[t][:, None]).min() > 1e-9
        ids = choose(logits, uniforms[t], sampling=sampling)
        np.testing.assert_array_equal(drawn[t], ids)
    for found, expected in zip(parts_of(after), parts_of(state), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@of_every_kind
def test_a_draw_is_the_first_symbol_whose_summed_probability_exceeds_its_uniform(kind):
    predictor, width = make(kind, "gru"), width_of(kind)
    uniforms = np.random.default_rng(3).random((T, width))
    start = np.array([1, 2])[:width]
    generated = predictor.generate(start, predictor.zero_state(width), uniforms=uniforms, sampling=SamplingSettings())
    ids, state = start, predictor.zero_state(width)
    for t in range(T):
        logits, state = predictor.step(ids, state)
        p = np.exp(logits.astype(np.float64))
        p /= p.sum(axis=1, keepdims=True)
        ids = np.array([next(k for k in range(V) if p[b, : k + 1].sum() > uniforms[t, b]) for b in range(width)])
        np.testing.assert_array_equal(generated.ids[t], ids)


@of_every_kind
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_of_bytes_only_those_that_go_on_with_utf_8_are_drawn(kind, temperature):
    predictor, width = make(kind, vocab_size=256, scale=1.5), width_of(kind)
    uniforms = np.random.default_rng(5).random((60, width))
    marks = np.full(width, START, TRANSITIONS.dtype)
    drawn, _, last = predictor.generate(
        np.full(width, ord("a")),
        predictor.zero_state(width),
        uniforms=uniforms,
        sampling=SamplingSettings(temperature=temperature),
        marks=marks,
    )
    assert (marks == START).all()
    for stream in range(width):
        mark = START
        for symbol in drawn[:, stream]:
            assert ALLOWED[mark, symbol]
            mark = TRANSITIONS[mark, symbol]
        assert last[stream] == mark
        drawn[:, stream].astype(np.uint8).tobytes().decode("utf-8", "ignore")


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_predictor_whose_logits_are_not_finite_draws_nothing(kind, bad, temperature):
    if kind.startswith("native") and library() is None:
        pytest.skip(f"no native kernels here: {unavailable_reason()}")
    settings = shape_of(cell="gru")
    weights = random_weights(settings)
    weights["output.bias"][2] = bad
    predictor, width = KINDS[kind](settings, weights), width_of(kind)
    with pytest.raises(NonFiniteError, match="not finite"), np.errstate(invalid="ignore"):
        predictor.generate(
            np.zeros(width, np.intp),
            predictor.zero_state(width),
            uniforms=np.full((1, width), 0.5),
            sampling=SamplingSettings(temperature=temperature),
        )


def test_nats_are_the_cross_entropy_in_float64_however_large_the_logits():
    logits = np.array([[1.0, 2.2, -3.0, 4.1], [1000.0, 0.0, 0.0, 0.0], [-1e30, -1e30, -1e30, -1e30]], np.float32)
    nats = nats_of(logits, np.array([1, 1, 2]))
    assert nats.dtype == np.float64
    exact = math.log(sum(math.exp(float(z)) for z in logits[0])) - float(logits[0, 1])
    np.testing.assert_allclose(nats, [exact, 1000, math.log(4)], rtol=1e-14)  # a few roundings of float64
