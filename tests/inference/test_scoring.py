"""Every protocol against the equations written out plainly, and against counts that have a closed form."""

import math

import numpy as np
import pytest
from cells import CELLS
from small_network import SHAPES, V, name_of, numpy_network, plain_nats, random_weights

from charrnn.errors import NonFiniteError, SettingsError
from charrnn.inference.scoring import iterate_nats, score_ids, score_lines, score_streams, score_windowed
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.open import open_network
from charrnn.models.settings import ModelSettings
from charrnn.text.vocab import Vocab

of_every_form = pytest.mark.parametrize("settings", SHAPES, ids=name_of)
SEVEN = Vocab.of_text("\nabcdeé")


def counted_bigrams(text):
    """A model whose p(next | last) are a text's counts, plus one: it forgets all but the last symbol."""
    vocab = Vocab.of_text(text)
    ids = vocab.encode(text).astype(int)
    counts = np.ones((vocab.size, vocab.size))
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    settings = ModelSettings(vocab_size=vocab.size, cell="rnn", hidden_size=vocab.size, bias=False)
    drive = 0.5
    weights = {
        "layers.0.weight_ih": drive * np.eye(vocab.size),
        "layers.0.weight_hh": np.zeros((vocab.size, vocab.size)),
        "output.weight": np.log(counts / counts.sum(axis=1, keepdims=True)).T / math.tanh(drive),
    }
    return NumpyNetwork(settings, weights, dtype=np.float64), vocab, counts / counts.sum(axis=1, keepdims=True)


@of_every_form
def test_single_precision_scores_equal_the_oracle_in_double_precision(settings):
    weights = random_weights(settings)
    ids = np.random.default_rng(1).integers(0, V, 301).astype(np.uint8)
    want = plain_nats(settings, weights, ids.tolist())
    for window in (7, 64, 1000):
        score = score_ids(NumpyNetwork(settings, weights), ids, vocab=SEVEN, window=window)
        # The accuracy promised: 1e-6 relative.
        assert score.nats == pytest.approx(want.sum(), rel=1e-6)
        assert score.nats_squared == pytest.approx((want**2).sum(), rel=2e-6)
        assert score.num_predictions == score.num_chars == 300


@pytest.mark.parametrize("cell", CELLS)
def test_the_window_does_not_move_the_exact_score(cell):
    network = numpy_network(cell=cell, num_layers=2, dtype=np.float64)
    ids = np.random.default_rng(2).integers(0, V, 500)
    scores = [score_ids(network, ids, vocab=SEVEN, window=window) for window in (1, 3, 64, 499, 5000)]
    for score in scores[1:]:
        # Products of other heights round differently in float64's last place: 500 of them stay far below 1e-12.
        assert score.nats == pytest.approx(scores[0].nats, rel=1e-12)
        assert score.num_predictions == 499


def test_n_symbols_give_n_minus_1_predictions():
    network = numpy_network()
    for num_symbols, num_predictions in ((0, 0), (1, 0), (2, 1), (3, 2)):
        ids = np.arange(num_symbols, dtype=np.uint8)
        assert score_ids(network, ids, vocab=SEVEN).num_predictions == num_predictions
        assert score_windowed(network, ids, vocab=SEVEN, window=2).num_predictions == num_predictions
        assert score_streams(network, ids, vocab=SEVEN, num_streams=4).num_predictions == num_predictions


def test_a_uniform_model_scores_the_logarithm_of_its_vocabulary():
    settings = ModelSettings(vocab_size=V, hidden_size=4, cell="rnn", bias=False)
    network = NumpyNetwork(settings, {name: np.zeros(s) for name, s in settings.parameter_shapes().items()})
    score = score_ids(network, np.arange(V).repeat(30), vocab=SEVEN)
    assert score.nats_per_char == pytest.approx(math.log(7), rel=1e-15)
    assert score.perplexity == pytest.approx(7, rel=1e-14)
    assert score.standard_error == pytest.approx(0, abs=1e-6)  # a difference of squares: the root of 1e-13


def test_characters_count_their_utf_8_bytes():
    vocab = Vocab.of_text("aé€😀")
    network = numpy_network(vocab_size=4)
    score = score_ids(network, vocab.encode("a" + "aé€😀" + "😀"), vocab=vocab)
    assert (score.num_predictions, score.num_chars, score.num_bytes) == (5, 5, 1 + 2 + 3 + 4 + 4)


def test_where_symbols_are_bytes_characters_count_at_their_first_byte():
    vocab = Vocab.bytes()
    network = numpy_network(vocab_size=256)
    text = "xaé€😀"
    score = score_ids(network, vocab.encode(text), vocab=vocab)
    assert (score.num_predictions, score.num_chars, score.num_bytes) == (10, 4, 10)


@of_every_form
def test_windowed_scores_begin_each_window_from_nothing(settings):
    weights = random_weights(settings)
    network = NumpyNetwork(settings, weights, dtype=np.float64)
    ids = np.random.default_rng(3).integers(0, V, 24)
    score = score_windowed(network, ids, vocab=SEVEN, window=5)
    want = [plain_nats(settings, weights, ids[begin : begin + 6].tolist()) for begin in (0, 5, 10, 15, 20)]
    assert [len(part) for part in want] == [5, 5, 5, 5, 3]
    assert score.num_predictions == 23
    assert score.nats == pytest.approx(np.concatenate(want).sum(), rel=1e-12)  # float64 both


def test_windowed_scores_of_more_windows_than_run_at_once_lose_none():
    network = numpy_network(dtype=np.float64, cell="rnn")
    ids = np.random.default_rng(4).integers(0, V, 1500)
    score = score_windowed(network, ids, vocab=SEVEN, window=2)
    alone = [score_ids(network, ids[begin : begin + 3], vocab=SEVEN) for begin in range(0, 1499, 2)]
    assert score.num_predictions == 1499
    assert score.nats == pytest.approx(math.fsum(part.nats for part in alone), rel=1e-12)


def test_a_window_as_long_as_the_text_is_the_exact_score():
    network = numpy_network(dtype=np.float64)
    ids = np.random.default_rng(5).integers(0, V, 3000)
    exact = score_ids(network, ids, vocab=SEVEN)
    assert score_windowed(network, ids, vocab=SEVEN, window=2999).nats == pytest.approx(exact.nats, rel=1e-12)


@of_every_form
def test_lines_are_scored_after_a_line_end_each_by_itself(settings):
    weights = random_weights(settings)
    network = NumpyNetwork(settings, weights, dtype=np.float64)
    lines = ["abc\n", "é\n", "\n", "eeddccbbaa\n", "ab", ""]
    scores = score_lines(network, [SEVEN.encode(line) for line in lines], vocab=SEVEN)
    for line, score in zip(lines, scores, strict=True):
        assert score.num_predictions == len(line)
        want = plain_nats(settings, weights, SEVEN.encode("\n" + line).tolist()).sum() if line else 0.0
        assert score.nats == pytest.approx(want, rel=1e-12)


def test_more_lines_than_run_at_once_and_longer_ones_than_a_window_keep_their_scores():
    network = numpy_network(dtype=np.float64, cell="gru")
    random = np.random.default_rng(6)
    lines = ["".join(random.choice(list("abcde"), length)) + "\n" for length in random.integers(0, 9, 150)]
    lines[17] = "abcde" * 500 + "\n"
    scores = score_lines(network, [SEVEN.encode(line) for line in lines], vocab=SEVEN)
    for line, score in zip(lines, scores, strict=True):
        alone = score_ids(network, SEVEN.encode("\n" + line), vocab=SEVEN)
        assert score.nats == pytest.approx(alone.nats, rel=1e-12)
        assert score.num_predictions == alone.num_predictions == len(line)
        assert score.num_bytes == len(line)


def test_without_a_newline_in_the_vocabulary_a_lines_first_symbol_is_given():
    vocab = Vocab.of_text("helo")
    network = numpy_network(vocab_size=4, dtype=np.float64)
    [score] = score_lines(network, [vocab.encode("hello")], vocab=vocab)
    assert score == score_ids(network, vocab.encode("hello"), vocab=vocab)
    assert score.num_predictions == 4


def test_streams_score_every_symbol_once_and_come_close():
    network = numpy_network(cell="gru", dtype=np.float64)
    ids = np.random.default_rng(8).integers(0, V, 5000)
    exact = score_ids(network, ids, vocab=SEVEN)
    for num_streams in (1, 3, 8):
        score = score_streams(network, ids, vocab=SEVEN, num_streams=num_streams, warm_up=300)
        assert score.num_predictions == 4999
        # Random gates forget: what 300 symbols leave of an earlier state is below 1e-9 here.
        assert score.nats == pytest.approx(exact.nats, rel=1e-9)


def test_streams_without_warm_up_differ_from_the_exact_score():
    network = numpy_network(cell="gru", dtype=np.float64)
    ids = np.random.default_rng(8).integers(0, V, 5000)
    exact = score_ids(network, ids, vocab=SEVEN)
    cold = score_streams(network, ids, vocab=SEVEN, num_streams=8, warm_up=0)
    assert cold.num_predictions == exact.num_predictions
    assert abs(cold.nats / exact.nats - 1) > 1e-7


def test_more_streams_than_symbols_are_still_exact():
    network = numpy_network(dtype=np.float64)
    ids = np.array([1, 2, 3, 4])
    assert score_streams(network, ids, vocab=SEVEN, num_streams=50).nats == pytest.approx(
        score_ids(network, ids, vocab=SEVEN).nats, rel=1e-12
    )


def test_a_model_of_counts_gives_the_counts_probabilities():
    network, vocab, p = counted_bigrams("la casa es blanca\n" * 3)
    text = "la casa\n"
    ids = vocab.encode(text).astype(int)
    nats = np.concatenate([part for part, _ in iterate_nats(network, ids)])
    np.testing.assert_allclose(np.exp(-nats), p[ids[:-1], ids[1:]], rtol=1e-12)


def test_the_right_order_of_words_is_more_probable_than_the_wrong_one():
    network, vocab, _ = counted_bigrams("la casa es pequeña\nla mesa es grande\nla silla es pequeña\n")
    lines = [vocab.encode("la casa es pequeña\n"), vocab.encode("pequeña la casa es\n")]
    right, wrong = score_lines(network, lines, vocab=vocab)
    assert right.num_predictions == wrong.num_predictions
    assert right.nats < wrong.nats


@pytest.mark.parametrize("value", [0, -1, 2.0])
def test_sizes_out_of_range_are_refused(value):
    ids = np.array([1, 2])
    with pytest.raises(SettingsError, match="from 1 to"):
        score_windowed(numpy_network(), ids, vocab=SEVEN, window=value)
    with pytest.raises(SettingsError, match="from 1 to"):
        score_streams(numpy_network(), ids, vocab=SEVEN, num_streams=value)


def test_a_model_whose_logits_are_no_numbers_cannot_score():
    network = numpy_network(scale=float("nan"))
    ids = np.array([1, 2, 3])
    for score in (
        lambda: score_ids(network, ids, vocab=SEVEN),
        lambda: score_windowed(network, ids, vocab=SEVEN, window=2),
        lambda: score_streams(network, ids, vocab=SEVEN, num_streams=2),
        lambda: score_lines(network, [ids], vocab=SEVEN),
    ):
        with pytest.raises(NonFiniteError, match="not finite"):
            score()


def test_a_symbol_held_impossible_has_no_score():
    class Certain(NumpyNetwork):
        def score(self, ids, targets, state):
            return np.full(ids.shape, math.inf), state

    shape = ModelSettings(vocab_size=V, cell="rnn", hidden_size=1)
    with pytest.raises(NonFiniteError):
        score_ids(Certain(shape, random_weights(shape)), np.array([1, 2, 3]), vocab=SEVEN)


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_opened_scores_as_the_oracle_by_every_protocol(cell):
    shape = ModelSettings(vocab_size=V, cell=cell, hidden_size=19, num_layers=2)
    weights = random_weights(shape, scale=0.4)
    opened, exact = open_network(shape, weights), NumpyNetwork(shape, weights, dtype=np.float64)
    ids = np.random.default_rng(9).integers(0, V, 700)
    for score in (
        lambda network: score_ids(network, ids, vocab=SEVEN),
        lambda network: score_windowed(network, ids, vocab=SEVEN, window=9),
        lambda network: score_streams(network, ids, vocab=SEVEN, num_streams=5, warm_up=20),
        lambda network: sum(line.nats for line in score_lines(network, [ids[:9], ids[9:40]], vocab=SEVEN)),
    ):
        found, expected = score(opened), score(exact)
        # The accuracy promised: 1e-6 relative.
        assert getattr(found, "nats", found) == pytest.approx(getattr(expected, "nats", expected), rel=1e-6)
