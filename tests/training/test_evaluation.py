"""The score during training against the exact one that the perplexity command gives."""

import numpy as np
import pytest
from charrnn.inference.engine import NumpyEngine
from charrnn.models.char_rnn import CharRNN
from charrnn.models.recurrence import UNROLLED

from charrnn.inference.scoring import score_ids
from charrnn.models.settings import ModelSettings
from charrnn.text.vocab import Vocab
from charrnn.training.evaluation import evaluate

VOCAB = Vocab.of_text("abcdefg")


def network_and_engine(cell="lstm"):
    settings = ModelSettings(vocab_size=VOCAB.size, cell=cell, hidden_size=4)
    model = CharRNN(settings, UNROLLED)
    model.initialize(3)
    weights = {name: 2 * w.detach().numpy() for name, w in model.weights().items()}
    model.set_weights({name: w * 2 for name, w in model.weights().items()})
    return model, NumpyEngine(settings, weights, dtype=np.float64)


@pytest.mark.parametrize("length", [2, 3, 300, 1024])
def test_a_text_of_one_stream_is_scored_exactly(length):
    model, engine = network_and_engine()
    ids = np.random.default_rng(0).integers(0, VOCAB.size, length).astype(np.uint8)
    found, exact = evaluate(model, ids, VOCAB), score_ids(engine, ids, vocab=VOCAB)
    assert found.num_predictions == exact.num_predictions == length - 1
    assert found.nats == pytest.approx(exact.nats, rel=1e-6)  # float32 against float64
    assert found.standard_error == pytest.approx(exact.standard_error, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize("length", [2049, 3333, 5000])
def test_a_text_of_several_streams_predicts_every_symbol_once_and_comes_close(length):
    model, engine = network_and_engine()
    ids = np.random.default_rng(1).integers(0, VOCAB.size, length).astype(np.uint8)
    found, exact = evaluate(model, ids, VOCAB), score_ids(engine, ids, vocab=VOCAB)
    assert found.num_predictions == exact.num_predictions
    # A stream has read 256 symbols before its own; what came earlier has faded below float32's rounding here.
    assert found.nats == pytest.approx(exact.nats, rel=1e-5)
