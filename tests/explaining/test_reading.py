"""What a model expected: the surprisal that scoring gives, and the distribution that it comes from."""

import numpy as np
import pytest
from small_network import V, plain_logits, random_weights, shape_of

from charrnn.errors import NonFiniteError
from charrnn.explaining.reading import NUM_EXPECTED, first_bytes, read
from charrnn.explaining.tracing import Activations
from charrnn.explaining.unit import Unit
from charrnn.inference.scoring import iterate_nats
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.open import open_network
from charrnn.text.vocab import Vocab

VOCAB = Vocab.of_text("abcdefg")
SHAPE = shape_of(cell="gru", num_layers=2)
WEIGHTS = random_weights(SHAPE)
IDS = np.random.default_rng(3).integers(0, V, 300)


def plain_probabilities():
    """(N - 1, V) of what followed each symbol but the last, float64."""
    logits = plain_logits(SHAPE, WEIGHTS, IDS[:-1])
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def test_surprisal_is_what_scoring_gives():
    network = open_network(SHAPE, WEIGHTS)
    nats = np.concatenate([nats for nats, _ in iterate_nats(network, IDS)])
    reading = read(network, IDS, VOCAB)
    assert reading.nats[0] == 0
    np.testing.assert_allclose(reading.nats[1:], nats, rtol=1e-6, atol=1e-6)  # softmax in another order
    assert reading.nats_per_char == pytest.approx(nats.mean(), rel=1e-6)


def test_entropy_and_expectations_are_those_of_the_distribution():
    reading = read(open_network(SHAPE, WEIGHTS), IDS, VOCAB)
    p = plain_probabilities()
    np.testing.assert_allclose(reading.entropy[1:], -(p * np.log(p)).sum(axis=1), rtol=0, atol=1e-5)  # float32
    order = np.argsort(-p, axis=1)[:, :NUM_EXPECTED]
    np.testing.assert_allclose(reading.probabilities[1:], np.take_along_axis(p, order, 1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(p, reading.expected[1:], 1), reading.probabilities[1:], atol=1e-5)
    assert (np.diff(reading.probabilities, axis=1) <= 0).all()


def test_a_small_alphabet_has_as_many_expectations_as_symbols():
    shape = shape_of(vocab_size=3)
    reading = read(NumpyNetwork(shape, random_weights(shape)), IDS % 3, Vocab.of_text("abc"))
    assert reading.expected.shape == (300, 3)
    np.testing.assert_allclose(reading.probabilities[1:].sum(axis=1), 1, rtol=1e-9)


def test_characters_of_several_bytes_sum_their_surprisal():
    shape = shape_of(vocab_size=256)
    network = NumpyNetwork(shape, random_weights(shape))
    text = "aé€x\U0001f600b"
    ids = np.frombuffer(text.encode(), np.uint8)
    reading = read(network, ids, Vocab.bytes())
    nats = np.concatenate([[0.0], *(nats for nats, _ in iterate_nats(network, ids))])
    sizes = [len(char.encode()) for char in text]
    ends = np.cumsum(sizes)
    assert reading.num_chars == len(text)
    expected = [nats[end - size : end].sum() for end, size in zip(ends, sizes, strict=True)]
    np.testing.assert_allclose(reading.nats, expected, rtol=1e-6)
    assert first_bytes(ids).tolist() == (ends - sizes).tolist()


@pytest.mark.parametrize("part", ["hidden", "reset", "update", "candidate"])
def test_units_asked_for_are_kept_after_each_character(part):
    network = NumpyNetwork(SHAPE, WEIGHTS)
    activations = Activations(SHAPE, WEIGHTS)
    units = [Unit(0, part, 1), Unit(1, part, 3)]
    reading = read(network, IDS, VOCAB, activations=activations, units=units)
    assert list(reading.units) == units
    if part == "hidden":
        state = network.zero_state(1)
        for t, symbol in enumerate(IDS):
            _, state = network.step(np.array([symbol]), state)
            assert [reading.units[unit][t] for unit in units] == [state[0][0, 0, 1], state[0][1, 0, 3]]
    else:
        low = -1 if part == "candidate" else 0
        assert all(
            (low <= values).all() and (values <= 1).all() and np.ptp(values) > 0.05 for values in reading.units.values()
        )


def test_numbers_that_are_not_finite_are_an_error():
    weights = {name: np.full_like(value, np.inf) for name, value in WEIGHTS.items()}
    with np.errstate(invalid="ignore"), pytest.raises(NonFiniteError):
        read(NumpyNetwork(SHAPE, weights), IDS, VOCAB)
