"""The predictor of a stored network: the kernels where there are some, and the same numbers without."""

import numpy as np
import pytest
from cells import CELLS, WITH_KERNEL
from small_network import SHAPES, B, V, name_of, random_weights, shape_of

from charrnn.errors import SettingsError
from charrnn.models.dynamic import DynamicNetwork
from charrnn.models.native.build import library, unavailable_reason
from charrnn.models.native.dynamic import NativeDynamicNetwork
from charrnn.models.native.network import NativeNetwork
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.open import open_dynamic, open_network
from charrnn.models.settings import ModelSettings, SamplingSettings


@pytest.mark.parametrize("settings", SHAPES, ids=name_of)
def test_what_is_opened_agrees_with_numpy_in_double_precision(settings):
    weights = random_weights(settings)
    opened = open_network(settings, weights, num_threads=1)
    exact = NumpyNetwork(settings, weights, dtype=np.float64)
    ids = np.random.default_rng(5).integers(0, V, (6, B))
    state, exact_state = opened.zero_state(B), exact.zero_state(B)
    for row in ids:
        logits, state = opened.step(row, state)
        want, exact_state = exact.step(row, exact_state)
        assert logits.dtype == np.float32
        # float32 through at most 18 cells whose values stay below 10: 1e-5 is some 80 roundings.
        np.testing.assert_allclose(logits, want, rtol=0, atol=1e-5)
    for found, expected in zip(state, exact_state, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    nats, state = opened.score(ids[:-1], ids[1:], opened.zero_state(B))
    want, exact_state = exact.score(ids[:-1], ids[1:], exact.zero_state(B))
    assert nats.dtype == np.float64
    np.testing.assert_allclose(nats, want, rtol=0, atol=1e-5)
    for found, expected in zip(state, exact_state, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingSettings(),
        SamplingSettings(temperature=0),
        SamplingSettings(temperature=0.6, top_k=3),
        SamplingSettings(top_p=0.8),
        SamplingSettings(min_p=0.2),
        SamplingSettings(temperature=1.4, top_k=5, top_p=0.9, min_p=0.05),
    ],
    ids=str,
)
def test_what_is_opened_draws_what_numpy_draws(sampling):
    settings = ModelSettings(vocab_size=11, hidden_size=6, cell="gru", num_layers=2)
    weights = random_weights(settings)
    uniforms = np.random.default_rng(6).random((200, 3))
    start = np.array([0, 1, 2])
    opened = open_network(settings, weights, num_threads=1)
    got = opened.generate(start, opened.zero_state(3), uniforms=uniforms, sampling=sampling)
    numpy = NumpyNetwork(settings, weights)
    want = numpy.generate(start, numpy.zero_state(3), uniforms=uniforms, sampling=sampling)
    np.testing.assert_array_equal(got.ids, want.ids)
    for found, expected in zip(got.state, want.state, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)  # 200 steps in float32


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_with_a_kernel_runs_by_it_and_another_by_its_equations(cell):
    if library() is None:
        pytest.skip(f"no native kernels here: {unavailable_reason()}")
    settings = shape_of(cell=cell)
    kind = NativeNetwork if cell in WITH_KERNEL else NumpyNetwork
    assert type(open_network(settings, random_weights(settings))) is kind
    learning = NativeDynamicNetwork if cell in WITH_KERNEL else DynamicNetwork
    assert type(open_dynamic(settings, random_weights(settings))) is learning


def test_without_native_kernels_torch_learns_to_the_same_numbers(monkeypatch):
    settings = shape_of(cell="gru", num_layers=2)
    weights, ids = random_weights(settings), np.random.default_rng(7).integers(0, V, (60, 1))
    opened = open_dynamic(settings, weights)
    monkeypatch.setattr("charrnn.models.open.library", lambda: None)
    without = open_dynamic(settings, weights)
    assert isinstance(without, DynamicNetwork)
    nats, _ = opened.score(ids[:-1], ids[1:], opened.zero_state(1))
    expected, _ = without.score(ids[:-1], ids[1:], without.zero_state(1))
    np.testing.assert_allclose(nats, expected, rtol=0, atol=1e-5)  # float32 through 60 steps and three updates


def test_without_native_kernels_numpy_does_the_work(monkeypatch):
    monkeypatch.setattr("charrnn.models.open.library", lambda: None)
    settings = shape_of()
    assert isinstance(open_network(settings, random_weights(settings), num_threads=1), NumpyNetwork)


@pytest.mark.parametrize("num_threads", [0, 1025, 1.0])
def test_a_number_of_threads_out_of_range_is_refused(num_threads):
    settings = shape_of()
    with pytest.raises(SettingsError, match="from 1 to 1,024"):
        open_network(settings, random_weights(settings), num_threads=num_threads)
    with pytest.raises(SettingsError, match="from 1 to 1,024"):
        open_dynamic(settings, random_weights(settings), num_threads=num_threads)
