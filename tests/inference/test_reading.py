"""Texts read as streams that come to agree, against the same texts read as one stream."""

import numpy as np
import pytest
from cells import CELLS
from small_network import V, numpy_network, random_weights, shape_of

from charrnn.inference import reading
from charrnn.inference.reading import ExactReading, iterate_nats
from charrnn.models.native.build import library
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.open import open_network

IDS = np.random.default_rng(4).integers(0, V, 3777)

EXACT = 1e-6  # the accuracy promised, relative, of the sum


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    """Parts and blocks so short that small networks need several of them."""
    monkeypatch.setattr(reading, "LEAST_PART", 64)
    monkeypatch.setattr(reading, "_MOST_PART", 320)
    monkeypatch.setattr(reading, "_BLOCK", 16)


def plain(predictor, ids=IDS):
    return np.concatenate([nats for nats, _ in iterate_nats(predictor, ids)])


def read(predictor, ids=IDS, **how):
    found = ExactReading(predictor, ids, **how)
    parts = list(found)
    np.testing.assert_array_equal(np.concatenate([targets for _, targets in parts]), ids[1:])
    return np.concatenate([nats for nats, _ in parts]), found


def skip_the_first_try(monkeypatch):
    """Has texts read side by side, whatever their beginnings would show."""
    monkeypatch.setattr(ExactReading, "_try", lambda _, network: (np.zeros(0), network.zero_state(1)))


def lstm_that_forgets_by(share, *, dtype=np.float32):
    """An LSTM whose forget gates are ``share`` or nearly, and which writes little at a time, but shows all it holds."""
    settings = shape_of(cell="lstm", hidden_size=6)
    weights = random_weights(settings, scale=0.3)
    bias, recurrent = weights["layers.0.bias_hh"], weights["layers.0.weight_hh"]
    forget = slice(6, 12)
    weights["layers.0.bias_ih"][forget] = 0
    bias[forget] = np.log(share / (1 - share)) if share < 1 else 40.0
    weights["layers.0.weight_ih"][forget] = recurrent[forget] = 0
    weights["layers.0.weight_ih"][:6] -= 3  # input gates of a twentieth
    recurrent *= 0.1
    return NumpyNetwork(settings, weights, dtype=dtype)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_each_symbol_gets_the_nats_of_one_stream(cell, num_layers):
    settings = shape_of(cell=cell, num_layers=num_layers)
    predictor = open_network(settings, random_weights(settings, scale=0.4))
    nats, found = read(predictor)
    want = plain(predictor)
    assert nats.sum() == pytest.approx(want.sum(), rel=EXACT)
    # A number in a state may be 2e-5 off where a stream is left; a logit is a sum of four of them.
    np.testing.assert_allclose(nats, want, atol=1e-4)
    assert 1 <= found.num_rounds <= 3
    assert len(IDS) < found.num_read < 2 * len(IDS)


@pytest.mark.parametrize("share", [0.9, 0.99, 0.997, 0.9999, 1.0])
@pytest.mark.parametrize("num_streams", [2, 5, 24])
def test_a_network_made_to_remember_is_read_exactly(share, num_streams):
    predictor = lstm_that_forgets_by(share)
    want = plain(predictor)
    cold = np.concatenate([plain(predictor, IDS[begin : begin + 321]) for begin in range(0, 3776, 320)])
    if share > 0.99:  # the test would show nothing of a network whose memory does not matter
        assert abs(cold.sum() / want.sum() - 1) > 10 * EXACT
    nats, _ = read(predictor, num_streams=num_streams)
    assert nats.sum() == pytest.approx(want.sum(), rel=EXACT)


@pytest.mark.parametrize("share", [0.999, 1.0])
def test_a_network_that_hardly_forgets_is_read_as_one_stream_after_a_first_try(share):
    predictor = lstm_that_forgets_by(share)
    nats, found = read(predictor, num_streams=5)
    # The last product is made for one row or for several, which rounds differently; all else is the same.
    np.testing.assert_allclose(nats, plain(predictor), rtol=1e-5)
    assert found.num_rounds == 0
    assert len(IDS) <= found.num_read <= len(IDS) + 64 + 16  # the last: its beginning alone was read twice


def test_a_network_that_forgets_at_first_only_is_read_as_one_stream_from_there_on(monkeypatch):
    skip_the_first_try(monkeypatch)
    predictor = lstm_that_forgets_by(1.0)
    nats, found = read(predictor, num_streams=5)
    np.testing.assert_allclose(nats, plain(predictor), rtol=1e-5)
    assert found.num_rounds > 0
    # Once side by side, once again, and then one after the other: the first parts alone, before it was known.
    assert len(IDS) < found.num_read <= len(IDS) + 2 * 5 * 320


def test_a_chaotic_network_is_read_exactly():
    settings = shape_of(cell="rnn", hidden_size=19)
    predictor = open_network(settings, random_weights(settings, scale=2.0))
    nats, _ = read(predictor)
    # A stream read alone and beside others rounds the same where kernels compute it; what is chaotic shows the rest.
    if library() is not None and settings.recurrent_cell.kernel:
        assert nats.sum() == pytest.approx(plain(predictor).sum(), rel=EXACT)
    assert np.isfinite(nats).all()


def test_memory_of_more_than_a_part_takes_several_rounds_side_by_side(monkeypatch):
    skip_the_first_try(monkeypatch)
    predictor = lstm_that_forgets_by(0.96)  # of a difference, 1e-5 is left after 280 symbols
    ids = IDS[: 1 + 6 * 100]
    nats, found = read(predictor, ids, num_streams=6)
    assert nats.sum() == pytest.approx(plain(predictor, ids).sum(), rel=EXACT)
    assert 2 <= found.num_rounds <= 5
    assert found.num_read < 5 * len(ids)


def test_rounds_can_be_limited_and_then_come_close():
    predictor = lstm_that_forgets_by(0.997)
    want = plain(predictor)
    errors = []
    for most_rounds in (0, 1, 3):
        nats, found = read(predictor, num_streams=5, most_rounds=most_rounds)
        assert found.num_rounds == most_rounds
        assert found.num_read <= (1 + most_rounds) * len(IDS)
        errors.append(abs(nats.sum() / want.sum() - 1))
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("num_symbols", [0, 1, 2, 3, 128, 129, 130, 640, 641, 643])
def test_texts_of_every_length_predict_each_symbol_once(num_symbols):
    predictor = numpy_network(dtype=np.float64)
    ids = IDS[:num_symbols]
    found = ExactReading(predictor, ids, num_streams=2)
    assert found.is_divided == (num_symbols > 128)
    nats = np.concatenate([np.zeros(0), *(part for part, _ in found)])
    want = np.concatenate([np.zeros(0), *(part for part, _ in iterate_nats(predictor, ids))])
    assert len(nats) == max(num_symbols - 1, 0)
    np.testing.assert_allclose(nats, want, atol=1e-4)


def test_what_is_kept_of_long_parts_is_bounded(monkeypatch):
    skip_the_first_try(monkeypatch)
    monkeypatch.setattr(reading, "_MOST_BYTES", 1)
    predictor = numpy_network(dtype=np.float64)
    lengths = [len(nats) for nats, _ in ExactReading(predictor, IDS, num_streams=5)][1:]
    assert 5 * 32 < max(lengths) <= 5 * 64


def test_a_predictor_whose_states_cannot_be_compared_reads_one_stream():
    class Opaque(NumpyNetwork):
        compares = False

    settings = shape_of(cell="gru")
    predictor = Opaque(settings, random_weights(settings))
    nats, found = read(predictor)
    np.testing.assert_array_equal(nats, plain(predictor))
    assert not found.is_divided


@pytest.mark.parametrize("cell", CELLS)
def test_a_state_comes_back_from_its_numbers(cell):
    predictor = numpy_network(cell=cell, num_layers=3)
    _, state = predictor.score(IDS[:40].reshape(20, 2), IDS[1:41].reshape(20, 2), predictor.zero_state(2))
    rows = predictor.rows_of(state)
    assert rows.shape == (2, len(state) * 3 * 4)
    for part, back in zip(state, predictor.state_of(rows), strict=True):
        np.testing.assert_array_equal(part, back)
    for part, back in zip(state.of_streams([1]), predictor.state_of(rows[1:]), strict=True):
        np.testing.assert_array_equal(part, back)
