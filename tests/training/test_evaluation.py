"""The score during training against the exact one that the perplexity command gives."""

from dataclasses import replace

import numpy as np
import pytest
from cells import CELLS

from charrnn.errors import NonFiniteError
from charrnn.inference.scoring import score_ids, score_streams
from charrnn.models.layer import UNROLLED
from charrnn.models.network import CharRNN
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.settings import ModelSettings
from charrnn.text.vocab import Vocab
from charrnn.training import evaluation
from charrnn.training.evaluation import evaluate

VOCAB = Vocab.of_text("abcdefg")


def network_and_oracle(cell):
    settings = ModelSettings(vocab_size=VOCAB.size, cell=cell, hidden_size=4)
    model = CharRNN(settings, UNROLLED)
    model.initialize(3)
    weights = {name: 2 * w.detach().numpy() for name, w in model.weights().items()}
    model.set_weights({name: w * 2 for name, w in model.weights().items()})
    return model, NumpyNetwork(settings, weights, dtype=np.float64)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("length", [2, 3, 300, 1024])
def test_a_text_of_one_stream_is_scored_exactly(length, cell):
    model, oracle = network_and_oracle(cell)
    ids = np.random.default_rng(0).integers(0, VOCAB.size, length).astype(np.uint8)
    found, exact = evaluate(model, ids, VOCAB), score_ids(oracle, ids, vocab=VOCAB)
    assert found.num_predictions == exact.num_predictions == length - 1
    assert found.nats == pytest.approx(exact.nats, rel=1e-6)  # float32 against float64
    assert found.standard_error == pytest.approx(exact.standard_error, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("length", [2049, 3333, 5000])
def test_a_text_of_several_streams_is_scored_exactly_in_float32(length, cell):
    model, oracle = network_and_oracle(cell)
    ids = np.random.default_rng(1).integers(0, VOCAB.size, length).astype(np.uint8)
    found, exact = evaluate(model, ids, VOCAB), score_ids(oracle, ids, vocab=VOCAB)
    assert found.num_predictions == exact.num_predictions
    assert found.nats == pytest.approx(exact.nats, rel=1e-6)  # the accuracy promised


def test_in_reduced_precision_each_stream_warms_up_instead(monkeypatch):
    model, _ = network_and_oracle("lstm")
    model.backend = replace(model.backend, precision="bfloat16")  # computed as before on this path
    ids = np.random.default_rng(1).integers(0, VOCAB.size, 2500).astype(np.uint8)
    asked = []

    def noted(*arguments, **how):
        asked.append(how)
        return score_streams(*arguments, **how)

    monkeypatch.setattr(evaluation, "score_streams", noted)
    assert evaluate(model, ids, VOCAB).num_predictions == 2499
    assert [(how["num_streams"], how["warm_up"]) for how in asked] == [(2, 256)]


def test_a_network_whose_logits_are_no_numbers_has_no_score():
    model, _ = network_and_oracle("gru")
    model.set_weights({name: w * float("nan") for name, w in model.weights().items()})
    with pytest.raises(NonFiniteError):
        evaluate(model, np.array([0, 1, 2], np.uint8), VOCAB)


def test_the_network_is_left_in_evaluation_mode_and_otherwise_as_it_was():
    model, _ = network_and_oracle("lstm")
    before = {name: w.detach().clone() for name, w in model.weights().items()}
    evaluate(model.train(), np.arange(7).repeat(30).astype(np.uint8), VOCAB)
    assert not model.training
    assert all((before[name] == w).all() for name, w in model.weights().items())
