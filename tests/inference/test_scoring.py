import math

import numpy as np
import pytest
from charrnn.inference.engine import NumpyEngine

from charrnn.errors import InputError, SettingsError
from charrnn.inference.scoring import iterate_nats, score_ids, score_lines, score_streams, score_windowed
from charrnn.models.settings import ModelSettings
from charrnn.text.vocab import Vocab

V = 7
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
    return NumpyEngine(settings, weights, dtype=np.float64), vocab, counts / counts.sum(axis=1, keepdims=True)


def test_single_precision_scores_equal_the_double_precision_oracle_for_every_form_of_model(
    settings, weights_of, oracle
):
    weights = weights_of(settings)
    ids = np.random.default_rng(1).integers(0, V, 301).astype(np.uint8)
    want = oracle(settings, weights, ids.tolist())
    for window in (7, 64, 1000):
        score = score_ids(NumpyEngine(settings, weights), ids, vocab=SEVEN, window=window)
        # The accuracy promised: 1e-6 relative.
        assert score.nats == pytest.approx(want.sum(), rel=1e-6)
        assert score.nats_squared == pytest.approx((want**2).sum(), rel=2e-6)
        assert score.num_predictions == score.num_chars == 300


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_window_does_not_move_the_exact_score(engine_of, cell):
    engine = engine_of(cell=cell, num_layers=2, dtype=np.float64)
    ids = np.random.default_rng(2).integers(0, V, 500)
    scores = [score_ids(engine, ids, vocab=SEVEN, window=window) for window in (1, 3, 64, 499, 5000)]
    for score in scores[1:]:
        # Products of other heights round differently in float64's last place: 500 of them stay far below
        # 1e-12.
        assert score.nats == pytest.approx(scores[0].nats, rel=1e-12)
        assert score.num_predictions == 499


def test_n_symbols_give_n_minus_1_predictions(engine_of):
    engine = engine_of()
    for num_symbols, num_predictions in ((0, 0), (1, 0), (2, 1), (3, 2)):
        ids = np.arange(num_symbols, dtype=np.uint8)
        assert score_ids(engine, ids, vocab=SEVEN).num_predictions == num_predictions
        assert score_windowed(engine, ids, vocab=SEVEN, window=2).num_predictions == num_predictions
        assert score_streams(engine, ids, vocab=SEVEN, num_streams=4).num_predictions == num_predictions


def test_a_uniform_model_scores_the_logarithm_of_its_vocabulary():
    settings = ModelSettings(vocab_size=V, hidden_size=4, cell="rnn", bias=False)
    engine = NumpyEngine(settings, {name: np.zeros(s) for name, s in settings.parameter_shapes().items()})
    score = score_ids(engine, np.arange(V).repeat(30), vocab=SEVEN)
    assert score.nats_per_char == pytest.approx(math.log(7), rel=1e-15)
    assert score.perplexity == pytest.approx(7, rel=1e-14)
    assert score.standard_error == pytest.approx(0, abs=1e-6)  # a difference of squares: the root of 1e-13


def test_characters_count_their_utf_8_bytes(engine_of):
    vocab = Vocab.of_text("aé€😀")
    engine = engine_of(vocab_size=4)
    score = score_ids(engine, vocab.encode("a" + "aé€😀" + "😀"), vocab=vocab)
    assert (score.num_predictions, score.num_chars, score.num_bytes) == (5, 5, 1 + 2 + 3 + 4 + 4)


def test_where_symbols_are_bytes_characters_count_at_their_first_byte(engine_of):
    vocab = Vocab.bytes()
    engine = engine_of(vocab_size=256)
    text = "xaé€😀"
    score = score_ids(engine, vocab.encode(text), vocab=vocab)
    assert (score.num_predictions, score.num_chars, score.num_bytes) == (10, 4, 10)


def test_windowed_scores_begin_each_window_from_nothing(settings, weights_of, oracle):
    weights = weights_of(settings)
    engine = NumpyEngine(settings, weights, dtype=np.float64)
    ids = np.random.default_rng(3).integers(0, V, 24)
    score = score_windowed(engine, ids, vocab=SEVEN, window=5)
    want = [oracle(settings, weights, ids[begin : begin + 6].tolist()) for begin in (0, 5, 10, 15, 20)]
    assert [len(part) for part in want] == [5, 5, 5, 5, 3]
    assert score.num_predictions == 23
    assert score.nats == pytest.approx(np.concatenate(want).sum(), rel=1e-12)  # float64 both


def test_windowed_scores_of_more_windows_than_run_at_once_lose_none(engine_of):
    engine = engine_of(dtype=np.float64, cell="rnn")
    ids = np.random.default_rng(4).integers(0, V, 1500)
    score = score_windowed(engine, ids, vocab=SEVEN, window=2)
    alone = [score_ids(engine, ids[begin : begin + 3], vocab=SEVEN) for begin in range(0, 1499, 2)]
    assert score.num_predictions == 1499
    assert score.nats == pytest.approx(math.fsum(part.nats for part in alone), rel=1e-12)


def test_a_window_as_long_as_the_text_is_the_exact_score(engine_of):
    engine = engine_of(dtype=np.float64)
    ids = np.random.default_rng(5).integers(0, V, 3000)
    exact = score_ids(engine, ids, vocab=SEVEN)
    assert score_windowed(engine, ids, vocab=SEVEN, window=2999).nats == pytest.approx(exact.nats, rel=1e-12)


def test_lines_are_scored_after_a_line_end_each_by_itself(settings, weights_of, oracle):
    weights = weights_of(settings)
    engine = NumpyEngine(settings, weights, dtype=np.float64)
    lines = ["abc\n", "é\n", "\n", "eeddccbbaa\n", "ab", ""]
    scores = score_lines(engine, [SEVEN.encode(line) for line in lines], vocab=SEVEN)
    for line, score in zip(lines, scores, strict=True):
        assert score.num_predictions == len(line)
        want = oracle(settings, weights, SEVEN.encode("\n" + line).tolist()).sum() if line else 0.0
        assert score.nats == pytest.approx(want, rel=1e-12)


def test_more_lines_than_run_at_once_and_longer_ones_than_a_window_keep_their_scores(engine_of):
    engine = engine_of(dtype=np.float64, cell="gru")
    random = np.random.default_rng(6)
    lines = ["".join(random.choice(list("abcde"), length)) + "\n" for length in random.integers(0, 9, 150)]
    lines[17] = "abcde" * 500 + "\n"
    scores = score_lines(engine, [SEVEN.encode(line) for line in lines], vocab=SEVEN)
    for line, score in zip(lines, scores, strict=True):
        alone = score_ids(engine, SEVEN.encode("\n" + line), vocab=SEVEN)
        assert score.nats == pytest.approx(alone.nats, rel=1e-12)
        assert score.num_predictions == alone.num_predictions == len(line)
        assert score.num_bytes == len(line)


def test_without_a_newline_in_the_vocabulary_a_lines_first_symbol_is_given(engine_of):
    vocab = Vocab.of_text("helo")
    engine = engine_of(vocab_size=4, dtype=np.float64)
    [score] = score_lines(engine, [vocab.encode("hello")], vocab=vocab)
    assert score == score_ids(engine, vocab.encode("hello"), vocab=vocab)
    assert score.num_predictions == 4


def test_streams_score_every_symbol_once_and_come_close(engine_of):
    engine = engine_of(cell="gru", dtype=np.float64)
    ids = np.random.default_rng(8).integers(0, V, 5000)
    exact = score_ids(engine, ids, vocab=SEVEN)
    for num_streams in (1, 3, 8):
        score = score_streams(engine, ids, vocab=SEVEN, num_streams=num_streams, warm_up=300)
        assert score.num_predictions == 4999
        # Random gates forget: what 300 symbols leave of an earlier state is below 1e-9 here.
        assert score.nats == pytest.approx(exact.nats, rel=1e-9)


def test_streams_without_warm_up_differ_so_that_the_warm_up_is_what_makes_them_close(engine_of):
    engine = engine_of(cell="gru", dtype=np.float64)
    ids = np.random.default_rng(8).integers(0, V, 5000)
    exact = score_ids(engine, ids, vocab=SEVEN)
    cold = score_streams(engine, ids, vocab=SEVEN, num_streams=8, warm_up=0)
    assert cold.num_predictions == exact.num_predictions
    assert abs(cold.nats / exact.nats - 1) > 1e-7


def test_more_streams_than_symbols_are_still_exact(engine_of):
    engine = engine_of(dtype=np.float64)
    ids = np.array([1, 2, 3, 4])
    assert score_streams(engine, ids, vocab=SEVEN, num_streams=50).nats == pytest.approx(
        score_ids(engine, ids, vocab=SEVEN).nats, rel=1e-12
    )


def test_a_model_of_counts_gives_the_counts_probabilities():
    engine, vocab, p = counted_bigrams("la casa es blanca\n" * 3)
    text = "la casa\n"
    ids = vocab.encode(text).astype(int)
    nats = np.concatenate([part for part, _ in iterate_nats(engine, ids)])
    np.testing.assert_allclose(np.exp(-nats), p[ids[:-1], ids[1:]], rtol=1e-12)


def test_the_right_order_of_words_is_more_probable_than_the_wrong_one():
    engine, vocab, _ = counted_bigrams("la casa es pequeña\nla mesa es grande\nla silla es pequeña\n")
    lines = [vocab.encode("la casa es pequeña\n"), vocab.encode("pequeña la casa es\n")]
    right, wrong = score_lines(engine, lines, vocab=vocab)
    assert right.num_predictions == wrong.num_predictions
    assert right.nats < wrong.nats


@pytest.mark.parametrize("value", [0, -1, 2.0])
def test_sizes_out_of_range_are_refused(engine_of, value):
    ids = np.array([1, 2])
    with pytest.raises(SettingsError, match="from 1 to"):
        score_windowed(engine_of(), ids, vocab=SEVEN, window=value)
    with pytest.raises(SettingsError, match="from 1 to"):
        score_streams(engine_of(), ids, vocab=SEVEN, num_streams=value)


def test_a_model_whose_logits_are_no_numbers_cannot_score(engine_of):
    engine = engine_of(scale=float("nan"))
    with pytest.raises(InputError, match="not numbers"):
        score_ids(engine, np.array([1, 2, 3]), vocab=SEVEN)
