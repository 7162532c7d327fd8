import numpy as np
import pytest

from charrnn.errors import InputError
from charrnn.inference.dynamic import DynamicSettings, score_dynamic
from charrnn.inference.engine import NumpyEngine
from charrnn.inference.scoring import score_ids
from charrnn.models.settings import ModelSettings
from charrnn.text.vocab import Vocab

VOCAB = Vocab.of_text("abcdefg")


def test_without_a_rate_it_is_the_exact_score(settings, weights_of):
    weights = weights_of(settings)
    ids = np.random.default_rng(0).integers(0, 7, 75)
    plain = score_ids(NumpyEngine(settings, weights, dtype=np.float64), ids, vocab=VOCAB)
    still = score_dynamic(settings, weights, ids, vocab=VOCAB, dynamic=DynamicSettings(segment=8, learning_rate=0.0))
    assert still.num_predictions == plain.num_predictions == 74
    assert still.num_chars == 74
    assert still.nats == pytest.approx(plain.nats, rel=1e-5)  # float32 against float64
    assert still.standard_error == pytest.approx(plain.standard_error, rel=1e-4)


def test_a_segment_is_predicted_before_it_is_learned_from(weights_of):
    settings = ModelSettings(vocab_size=7, cell="gru", hidden_size=4)
    weights = weights_of(settings)
    ids = np.random.default_rng(0).integers(0, 7, 12)
    plain = score_ids(NumpyEngine(settings, weights), ids, vocab=VOCAB)
    one_segment = score_dynamic(settings, weights, ids, vocab=VOCAB, dynamic=DynamicSettings(16, learning_rate=9.0))
    assert one_segment.nats == pytest.approx(plain.nats, rel=1e-5)


def test_one_step_is_the_equation_worked_by_finite_differences(weights_of):
    settings = ModelSettings(vocab_size=7, cell="rnn", hidden_size=4)
    weights = weights_of(settings)
    ids = np.array([1, 3, 2, 6, 0, 4, 5])
    dynamic = DynamicSettings(segment=3, learning_rate=0.5, decay=0.25)

    def mean_nats(weights, ids):
        engine = NumpyEngine(settings, weights, dtype=np.float64)
        nats, state = engine.score(ids[:-1, None], ids[1:, None], engine.zero_state(1))
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
    engine = NumpyEngine(settings, learned, dtype=np.float64)
    second, _ = engine.score(ids[3:-1, None], ids[4:, None], state)

    found = score_dynamic(settings, weights, ids, vocab=VOCAB, dynamic=dynamic)
    assert found.nats == pytest.approx(3 * first + second.sum(), rel=1e-5)  # float32 and the differences' own error


def test_a_text_that_repeats_itself_is_learned_on_the_way(weights_of):
    settings = ModelSettings(vocab_size=7, cell="lstm", hidden_size=16)
    weights = weights_of(settings, scale=0.3)
    before = {name: w.copy() for name, w in weights.items()}
    ids = np.tile([0, 1, 2, 3, 4, 5, 6, 6], 200)
    plain = score_ids(NumpyEngine(settings, weights), ids, vocab=VOCAB)
    found = score_dynamic(settings, weights, ids, vocab=VOCAB, dynamic=DynamicSettings(learning_rate=0.5))
    assert found.nats_per_char < 0.8 * plain.nats_per_char
    assert all(np.array_equal(weights[name], before[name]) for name in weights)


def test_a_model_that_gives_no_numbers_is_refused(weights_of):
    settings = ModelSettings(vocab_size=7, cell="gru", hidden_size=4)
    weights = weights_of(settings)
    weights["output.bias"] = np.full(7, np.nan, np.float32)
    with pytest.raises(InputError, match="not numbers above 0"):
        score_dynamic(settings, weights, np.arange(7), vocab=VOCAB)
