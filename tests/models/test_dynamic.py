"""Dynamic evaluation, in torch and in C: the equations worked by finite differences, and that it never looks ahead."""

import numpy as np
import pytest
import torch
from cells import CELLS
from small_network import SHAPES, V, name_of, random_weights, shape_of

from charrnn.errors import InputError, NonFiniteError
from charrnn.inference.scoring import score_ids, score_streams
from charrnn.models.dynamic import DynamicNetwork
from charrnn.models.native.build import library, unavailable_reason
from charrnn.models.native.dynamic import NativeDynamicNetwork
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.settings import DynamicSettings
from charrnn.text.vocab import Vocab

VOCAB = Vocab.of_text("abcdefg")


@pytest.fixture(params=["torch", "native"])
def learning(request):
    """Makes a network that learns, by either path, of settings, weights and how it learns."""

    def make(settings, weights, dynamic=None):
        if request.param == "torch":
            return DynamicNetwork(settings, weights, dynamic)
        if library() is None:
            pytest.skip(f"no native kernels here: {unavailable_reason()}")
        if not settings.recurrent_cell.kernel:
            pytest.skip("no kernel is written for this cell")
        return NativeDynamicNetwork(settings, weights, dynamic)

    return make


@pytest.mark.parametrize("settings", SHAPES, ids=name_of)
def test_without_a_rate_it_is_the_exact_score(learning, settings):
    weights = random_weights(settings)
    ids = np.random.default_rng(0).integers(0, 7, 75)
    plain = score_ids(NumpyNetwork(settings, weights, dtype=np.float64), ids, vocab=VOCAB)
    still = score_ids(learning(settings, weights, DynamicSettings(segment=8, learning_rate=0.0)), ids, vocab=VOCAB)
    assert still.num_predictions == plain.num_predictions == 74
    assert still.num_chars == 74
    assert still.nats == pytest.approx(plain.nats, rel=1e-5)  # float32 against float64
    assert still.standard_error == pytest.approx(plain.standard_error, rel=1e-4)


def test_a_segment_is_predicted_before_it_is_learned_from(learning):
    settings = shape_of(cell="gru")
    weights = random_weights(settings)
    ids = np.random.default_rng(0).integers(0, 7, 12)
    plain = score_ids(NumpyNetwork(settings, weights), ids, vocab=VOCAB)
    one_segment = score_ids(learning(settings, weights, DynamicSettings(16, learning_rate=9.0)), ids, vocab=VOCAB)
    assert one_segment.nats == pytest.approx(plain.nats, rel=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_one_step_is_the_equation_worked_by_finite_differences(learning, cell):
    settings = shape_of(cell=cell)
    weights = random_weights(settings)
    ids = np.array([1, 3, 2, 6, 0, 4, 5])
    dynamic = DynamicSettings(segment=3, learning_rate=0.5, decay=0.25)

    def mean_nats(weights, ids):
        network = NumpyNetwork(settings, weights, dtype=np.float64)
        nats, state = network.score(ids[:-1, None], ids[1:, None], network.zero_state(1))
        return nats.mean(), state

    exact = {name: w.astype(np.float64) for name, w in weights.items()}
    gradient = {name: np.zeros_like(w) for name, w in exact.items()}
    first, state = mean_nats(exact, ids[:4])
    for name, w in exact.items():
        for place in np.ndindex(w.shape):
            sides = []
            for sign in (1, -1):
                moved = {**exact, name: w.copy()}
                moved[name][place] += sign * 1e-6
                sides.append(mean_nats(moved, ids[:4])[0])
            gradient[name][place] = (sides[0] - sides[1]) / 2e-6
    norm = np.sqrt(sum(np.square(g).sum() for g in gradient.values()))
    learned = {name: w - 0.75 * 0.5 / max(1, norm) * gradient[name] for name, w in exact.items()}
    network = NumpyNetwork(settings, learned, dtype=np.float64)
    second, _ = network.score(ids[3:-1, None], ids[4:, None], state)

    found = score_ids(learning(settings, weights, dynamic), ids, vocab=VOCAB)
    assert found.nats == pytest.approx(3 * first + second.sum(), rel=1e-5)  # float32 and the differences' own error


def test_a_text_that_repeats_itself_is_learned_on_the_way(learning):
    settings = shape_of(cell="lstm", hidden_size=16)
    weights = random_weights(settings, scale=0.3)
    before = {name: w.copy() for name, w in weights.items()}
    ids = np.tile([0, 1, 2, 3, 4, 5, 6, 6], 200)
    plain = score_ids(NumpyNetwork(settings, weights), ids, vocab=VOCAB)
    found = score_ids(learning(settings, weights, DynamicSettings(learning_rate=0.5)), ids, vocab=VOCAB)
    assert found.nats_per_char < 0.8 * plain.nats_per_char
    assert all(np.array_equal(weights[name], before[name]) for name in weights)


def test_a_second_text_is_scored_by_the_trained_weights_again(learning):
    settings = shape_of(cell="gru")
    network = learning(settings, random_weights(settings), DynamicSettings(segment=5, learning_rate=1.0))
    ids = np.random.default_rng(3).integers(0, V, 90)
    first = score_ids(network, ids, vocab=VOCAB)
    score_ids(network, ids[::-1].copy(), vocab=VOCAB)
    assert score_ids(network, ids, vocab=VOCAB) == first


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 7, 16, 1000])
def test_however_calls_are_grouped_the_score_is_the_same(learning, window):
    settings = shape_of(cell="lstm", num_layers=2)
    dynamic = DynamicSettings(segment=4, learning_rate=0.3, decay=0.01)
    network = learning(settings, random_weights(settings), dynamic)
    ids = np.random.default_rng(4).integers(0, V, 122)
    whole = score_ids(network, ids, vocab=VOCAB)
    # Some thirty steps of float32: what they round differently stays below a hundred-thousandth.
    assert score_ids(network, ids, vocab=VOCAB, window=window).nats == pytest.approx(whole.nats, rel=1e-5)


def test_the_future_shuffled_leaves_every_earlier_prediction_as_it_was(learning):
    settings = shape_of(cell="lstm")
    network = learning(settings, random_weights(settings), DynamicSettings(segment=4, learning_rate=1.0))
    random = np.random.default_rng(5)
    ids = random.integers(0, V, 61)

    def nats(ids):
        return network.score(ids[:-1, None], ids[1:, None], network.zero_state(1))[0][:, 0]

    plain = nats(ids)
    for at in range(1, 60):
        shuffled = np.concatenate([ids[: at + 1], random.permutation(ids[at + 1 :])])
        np.testing.assert_array_equal(nats(shuffled)[:at], plain[:at])
    # What comes earlier does count: the same end is predicted otherwise after another beginning.
    other = np.concatenate([random.permutation(ids[:40]), ids[40:]])
    assert (nats(other)[45:] != plain[45:]).any()


def test_the_state_keeps_what_was_learned_and_the_network_forgets_it():
    settings = shape_of(cell="gru")
    weights = random_weights(settings)
    network = DynamicNetwork(settings, weights, DynamicSettings(segment=4, learning_rate=1.0))
    ids = np.random.default_rng(6).integers(0, V, 10)
    start = network.zero_state(1)
    _, state = network.score(ids[:-1, None], ids[1:, None], start)
    trained = [torch.from_numpy(weights[name]) for name in settings.parameter_shapes()]
    assert all(map(torch.equal, start.weights, trained))
    assert all(map(torch.equal, network.zero_state(1).weights, trained))
    assert not any(map(torch.equal, state.weights, trained))
    assert state.segment.tolist() == ids[8:9].tolist()  # two segments are learned; the third has begun


def test_it_reads_one_stream_and_says_so(learning):
    settings = shape_of(cell="rnn")
    network = learning(settings, random_weights(settings))
    with pytest.raises(ValueError, match="one stream"):
        network.zero_state(2)
    state = network.zero_state(1)
    for streams in ([0], np.zeros(1, np.intp), slice(None)):
        assert state.of_streams(streams) is state
    for streams in ([0, 0], np.zeros(3, np.intp)):
        with pytest.raises(ValueError, match="one stream"):
            state.of_streams(streams)
    with pytest.raises(ValueError, match="one stream"):
        score_streams(network, np.arange(7), vocab=VOCAB, num_streams=2)


def test_a_model_that_gives_no_numbers_is_refused(learning):
    settings = shape_of(cell="gru")
    weights = random_weights(settings)
    weights["output.bias"] = np.full(7, np.nan, np.float32)
    with pytest.raises(InputError, match="not finite"):
        score_ids(learning(settings, weights), np.arange(7), vocab=VOCAB)


def test_a_step_that_would_not_be_finite_is_refused(learning):
    settings = shape_of(cell="gru")
    weights = random_weights(settings)
    weights["output.bias"][3] = np.inf
    with pytest.raises(NonFiniteError):
        score_ids(learning(settings, weights, DynamicSettings(segment=2)), np.arange(7), vocab=VOCAB)
