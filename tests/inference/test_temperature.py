import math

import numpy as np
import pytest
from charrnn.inference.engine import NumpyEngine, open_engine
from charrnn.inference.sampling import SamplingSettings

from charrnn.errors import InputError
from charrnn.inference.scoring import score_ids
from charrnn.inference.temperature import fit_temperature, with_temperature
from charrnn.models.settings import ModelSettings
from charrnn.text.vocab import Vocab

VOCAB = Vocab.of_text("abcdefg")


def drawn(settings, weights, length):
    """Symbols that the model itself draws: at temperature 1 nothing predicts them better."""
    engine = open_engine(settings, weights)
    uniforms = np.random.default_rng(1).random((length, 1))
    found = engine.generate(np.zeros(1, np.intp), engine.zero_state(1), uniforms=uniforms, sampling=SamplingSettings())
    return found.ids[:, 0]


def test_logits_are_divided_by_the_temperature(settings, weights_of):
    weights = weights_of(settings)
    ids = np.array([3])
    plain, hot = NumpyEngine(settings, weights), NumpyEngine(settings, with_temperature(weights, 2.5))
    logits, _ = plain.step(ids, plain.zero_state(1))
    divided, _ = hot.step(ids, hot.zero_state(1))
    np.testing.assert_allclose(divided, logits / 2.5, rtol=1e-6, atol=1e-7)  # float32 rounding of one product


def test_a_model_too_sure_by_a_known_factor_is_mended_by_that_factor(weights_of):
    settings = ModelSettings(vocab_size=7, cell="gru", hidden_size=4)
    weights = weights_of(settings, scale=1.0)
    ids = drawn(settings, weights, 20_000)
    found = fit_temperature(settings, with_temperature(weights, 1 / 1.6), ids, vocab=VOCAB)
    # The best temperature of 20,000 draws scatters by about 1/sqrt(20,000) around the true one.
    assert found == pytest.approx(1.6, rel=0.03)


def test_no_other_temperature_scores_the_text_better(weights_of):
    settings = ModelSettings(vocab_size=7, cell="lstm", hidden_size=4)
    weights = weights_of(settings, scale=2.0)
    ids = np.random.default_rng(0).integers(0, 7, 900)

    def nats(temperature):
        return score_ids(open_engine(settings, with_temperature(weights, temperature)), ids, vocab=VOCAB).nats

    best = nats(fit_temperature(settings, weights, ids, vocab=VOCAB))
    others = [nats(math.exp(x)) for x in np.linspace(math.log(0.3), math.log(3.9), 24)]
    assert best <= min(others) + 1e-3  # golden sections stop at a thousandth, where the loss is flat


def test_a_text_of_one_symbol_fits_nothing(weights_of):
    settings = ModelSettings(vocab_size=7, cell="rnn", hidden_size=4)
    with pytest.raises(InputError, match="at least two symbols"):
        fit_temperature(settings, weights_of(settings), np.zeros(1, np.uint8), vocab=VOCAB)
