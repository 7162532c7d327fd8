"""The temperature that suits a text: found where it is known, and better than any other."""

import math

import numpy as np
import pytest
from small_network import SHAPES, name_of, random_weights

from charrnn.errors import InputError
from charrnn.inference.scoring import score_ids
from charrnn.inference.temperature import fit_temperature, with_temperature
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.open import open_network
from charrnn.models.settings import ModelSettings, SamplingSettings
from charrnn.text.vocab import Vocab

VOCAB = Vocab.of_text("abcdefg")


def drawn(settings, weights, length):
    """Symbols that the model itself draws: at temperature 1 nothing predicts them better."""
    network = open_network(settings, weights)
    uniforms = np.random.default_rng(1).random((length, 1))
    found = network.generate(
        np.zeros(1, np.intp), network.zero_state(1), uniforms=uniforms, sampling=SamplingSettings()
    )
    return found.ids[:, 0]


@pytest.mark.parametrize("settings", SHAPES, ids=name_of)
def test_logits_are_divided_by_the_temperature(settings):
    weights = random_weights(settings)
    ids = np.array([3])
    plain, hot = NumpyNetwork(settings, weights), NumpyNetwork(settings, with_temperature(weights, 2.5))
    logits, _ = plain.step(ids, plain.zero_state(1))
    divided, _ = hot.step(ids, hot.zero_state(1))
    np.testing.assert_allclose(divided, logits / 2.5, rtol=1e-6, atol=1e-7)  # float32 rounding of one product


def test_a_model_too_sure_by_a_known_factor_is_mended_by_that_factor():
    settings = ModelSettings(vocab_size=7, cell="gru", hidden_size=4)
    weights = random_weights(settings, scale=1.0)
    ids = drawn(settings, weights, 20_000)
    found = fit_temperature(settings, with_temperature(weights, 1 / 1.6), ids, vocab=VOCAB)
    # The best temperature of 20,000 draws scatters by about 1/sqrt(20,000) around the true one.
    assert found == pytest.approx(1.6, rel=0.03)


def test_no_other_temperature_scores_the_text_better():
    settings = ModelSettings(vocab_size=7, cell="lstm", hidden_size=4)
    weights = random_weights(settings, scale=2.0)
    ids = np.random.default_rng(0).integers(0, 7, 900)

    def nats(temperature):
        return score_ids(open_network(settings, with_temperature(weights, temperature)), ids, vocab=VOCAB).nats

    best = nats(fit_temperature(settings, weights, ids, vocab=VOCAB))
    others = [nats(math.exp(x)) for x in np.linspace(math.log(0.3), math.log(3.9), 24)]
    assert best <= min(others) + 1e-3  # golden sections stop at a thousandth, where the loss is flat


def test_a_text_of_one_symbol_fits_nothing():
    settings = ModelSettings(vocab_size=7, cell="rnn", hidden_size=4)
    with pytest.raises(InputError, match="at least two symbols"):
        fit_temperature(settings, random_weights(settings), np.zeros(1, np.uint8), vocab=VOCAB)
