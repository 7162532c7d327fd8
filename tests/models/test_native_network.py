"""The whole network in C against the equations in float64, and its draws against the words that define them."""

import itertools
from typing import Any

import numpy as np
import pytest
from cells import WITH_KERNEL

from charrnn.errors import InputError, NonFiniteError
from charrnn.models import cells
from charrnn.models.cells import State
from charrnn.models.native import build, call
from charrnn.models.settings import ModelSettings, SamplingSettings

pytestmark = pytest.mark.skipif(build.library() is None, reason=f"no native kernels here: {build.unavailable_reason()}")

network = pytest.importorskip("charrnn.models.native.network")

Array = np.ndarray[Any, Any]

# float32 products of up to 70 terms around 1, carried through up to 17 steps; logits and nats are up to 10.
TOLERANCE = 2e-5


def model(cell: str, *, layers: int = 2, size: int = 4, vocab: int = 7, **more: Any) -> ModelSettings:
    return ModelSettings(vocab_size=vocab, cell=cell, num_layers=layers, hidden_size=size, embedding_size=5, **more)


def random_weights(settings: ModelSettings, *, scale: float = 1.0) -> dict[str, Array]:
    random = np.random.default_rng(settings.hidden_size)
    return {
        name: (scale * random.standard_normal(shape) / np.sqrt(shape[-1] if len(shape) > 1 else 4)).astype(np.float32)
        for name, shape in settings.parameter_shapes().items()
    }


def equations(settings: ModelSettings, weights: dict[str, Array], ids: Array, state: State) -> tuple[Array, State]:
    """Logits (T, B, V) and last state, in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    after = state.map(lambda part: np.array(part, np.float64))
    step = cells.CELLS[settings.cell].step
    logits = []
    for row in ids:
        below = w.get("embedding.weight", np.eye(settings.vocab_size))[row]
        for i in range(settings.num_layers):
            x = below @ w[f"layers.{i}.weight_ih"].T + w.get(f"layers.{i}.bias_ih", 0)
            bias = w.get(f"layers.{i}.bias_hh", 0.0)
            found = step(x, after.of_layer(i), w[f"layers.{i}.weight_hh"], bias, np.tanh)
            for kept, part in zip(after, found, strict=True):
                kept[i] = part
            below = found[0]
        logits.append(below @ w["output.weight"].T + w.get("output.bias", 0))
    return np.array(logits), after


def nats_of(logits: Array, targets: Array) -> Array:
    z = logits - logits.max(-1, keepdims=True)
    return np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, targets[..., None], -1)[..., 0]


def random_state(engine: Any, num_streams: int) -> State:
    random = np.random.default_rng(3)
    zero: State = engine.zero_state(num_streams)
    return zero.map(lambda part: (random.standard_normal(part.shape) * 0.5).astype(np.float32))


def near(found: Any, expected: Any) -> bool:
    return all(a.shape == b.shape and np.abs(a - b).max() <= TOLERANCE for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_steps_and_scores_equal_the_equations(cell: str) -> None:
    for layers, size, vocab, streams, steps in [
        (2, 4, 7, 2, 3),
        (1, 33, 40, 3, 17),
        (3, 70, 5, 14, 6),
        (1, 1, 1, 1, 1),
    ]:
        for kind, bias in itertools.product(("one-hot", "embedding"), (True, False)):
            settings = model(cell, layers=layers, size=size, vocab=vocab, input=kind, bias=bias)
            weights = random_weights(settings)
            random = np.random.default_rng(1)
            ids, targets = random.integers(vocab, size=(2, steps, streams))
            for num_threads in (1, 3):
                engine = network.NativeNetwork(settings, weights, num_threads=num_threads)
                state = random_state(engine, streams)
                logits, last = equations(settings, weights, ids, state)
                nats, after = engine.score(ids, targets, state)
                assert nats.dtype == np.float64
                assert near((nats, *after), (nats_of(logits, targets), *last))
                first, _ = engine.step(ids[0], state)
                assert near((first,), (logits[0],))


@pytest.mark.parametrize("kept", [np.float32, np.float16])  # the latter are read in half the bytes
@pytest.mark.parametrize("kind", ["one-hot", "embedding"])
def test_neither_neighbours_nor_grouping_nor_threads_change_a_bit(kind: str, kept: Any) -> None:
    for cell in WITH_KERNEL:
        settings = model(cell, size=37, vocab=41, input=kind)
        weights = {name: weight.astype(kept).astype(np.float32) for name, weight in random_weights(settings).items()}
        engine = network.NativeNetwork(settings, weights)
        ids = np.random.default_rng(2).integers(41, size=(70, 5))
        state = random_state(engine, 5)
        nats, (hidden, *_) = engine.score(ids, ids, state)
        for num_threads in (2, 3, 4):
            threaded = network.NativeNetwork(settings, weights, num_threads=num_threads)
            assert np.array_equal(threaded.score(ids, ids, state)[0], nats)
        for stream in range(5):
            alone = state.of_streams([stream])
            column = ids[:, stream : stream + 1]
            first, alone = engine.score(column[:11], column[:11], alone)
            second, alone = engine.score(column[11:], column[11:], alone)
            assert np.array_equal(np.concatenate([first, second])[:, 0], nats[:, stream])
            assert np.array_equal(alone[0][:, 0], hidden[:, stream])


@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_threads_that_share_the_units_of_one_stream_change_no_bit(cell: str) -> None:
    settings = model(cell, size=370, vocab=11)  # large enough to be shared, whatever the cell
    weights = random_weights(settings)
    rng = np.random.default_rng(2)
    ids, uniforms = rng.integers(11, size=(70, 1)), rng.random((70, 1))
    engine = network.NativeNetwork(settings, weights)
    state = random_state(engine, 1)
    nats, after = engine.score(ids, ids, state)
    drawn, _, _ = engine.generate(ids[0], state, uniforms=uniforms, sampling=SamplingSettings())
    for num_threads in (2, 3, 64):
        sharing = network.NativeNetwork(settings, weights, num_threads=num_threads)
        found, last = sharing.score(ids, ids, state)
        assert np.array_equal(found, nats)
        assert all(np.array_equal(part, other) for part, other in zip(last, after, strict=True))
        assert np.array_equal(sharing.generate(ids[0], state, uniforms=uniforms, sampling=SamplingSettings())[0], drawn)


def narrowed(logits: Array, *, temperature: float, top_k: int, top_p: float, min_p: float) -> Array:
    """The probabilities as the words define them, symbol by symbol."""
    z = [value / temperature for value in logits.tolist()]
    kept = [value >= sorted(z, reverse=True)[min(top_k, len(z)) - 1] for value in z] if top_k else [True] * len(z)
    p = [np.exp(value - max(z)) if keep else 0.0 for value, keep in zip(z, kept, strict=True)]
    p = [value / sum(p) for value in p]
    if top_p < 1:
        reached, nucleus = 0.0, set()
        for symbol in sorted(range(len(p)), key=lambda symbol: (-p[symbol], symbol)):
            nucleus.add(symbol)
            reached += p[symbol]
            if reached >= top_p - 1e-12:
                break
        p = [value if symbol in nucleus else 0.0 for symbol, value in enumerate(p)]
    p = [value if value >= min_p * max(p) else 0.0 for value in p]
    return np.array(p) / sum(p)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"top_k": 3},
        {"top_p": 0.6},
        {"min_p": 0.3},
        {"temperature": 1.7, "top_k": 5, "top_p": 0.9, "min_p": 0.1},
        {"top_k": 100},
    ],
    ids=str,
)
def test_each_draw_inverts_the_distribution_at_its_uniform(options: dict[str, float]) -> None:
    settings = model("gru")
    engine = network.NativeNetwork(settings, random_weights(settings, scale=2.0), num_threads=2)
    state, ids = engine.zero_state(3), np.array([0, 3, 6])
    uniforms = np.random.default_rng(5).random((20, 3))
    drawn, after, marks = engine.generate(ids, state, uniforms=uniforms, sampling=SamplingSettings(**options))
    assert marks is None
    full = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0} | options
    for row, uniform in zip(drawn, uniforms, strict=True):
        logits, state = engine.step(ids, state)
        for stream in range(3):
            cumulative = np.cumsum(narrowed(logits[stream].astype(np.float64), **full))
            # A uniform within a rounding of a boundary could fall to either side; none of these does.
            assert np.abs(cumulative - uniform[stream]).min() > 1e-9
            assert row[stream] == (cumulative <= uniform[stream]).sum()
        ids = row
    assert all(np.array_equal(a, b) for a, b in zip(after, state, strict=True))


def tied_network(bias: list[float]) -> Any:
    """A model whose logits are its output's bias, whatever it reads."""
    settings = model("rnn", layers=1, vocab=len(bias))
    weights = {name: np.zeros(shape, np.float32) for name, shape in settings.parameter_shapes().items()}
    weights["output.bias"] = np.array(bias, np.float32)
    return network.NativeNetwork(settings, weights)


def drawable(engine: Any, **options: float) -> set[int]:
    """All symbols that some uniform of a fine grid draws."""
    uniforms = np.linspace(0, 1, 4096, endpoint=False)[None]
    ids = np.zeros(4096, np.int64)
    sampling = SamplingSettings(**options)
    drawn, _, _ = engine.generate(ids, engine.zero_state(4096), uniforms=uniforms, sampling=sampling)
    return set(drawn.ravel().tolist())


def test_at_temperature_0_the_lowest_id_of_ties_is_taken() -> None:
    assert drawable(tied_network([1.0, 3.0, 0.0, 3.0]), temperature=0.0) == {1}


def test_top_k_keeps_all_that_tie_with_the_kth() -> None:
    assert drawable(tied_network([2.0, 1.0, 1.0, 0.0]), top_k=2) == {0, 1, 2}


def test_top_p_takes_lower_ids_first_where_symbols_tie() -> None:
    assert drawable(tied_network([0.0, 0.0, 0.0, 0.0]), top_p=0.5) == {0, 1}


def test_min_p_drops_what_is_below_its_share_of_the_most_probable() -> None:
    log = np.log([0.5, 0.3, 0.15, 0.05]).tolist()
    assert drawable(tied_network(log), min_p=0.2) == {0, 1, 2}


def test_a_uniform_just_below_1_draws_the_last_symbol_possible() -> None:
    engine = tied_network([0.0, 1.0, -1.0, -np.inf])
    drawn, _, _ = engine.generate(
        np.zeros(1, np.int64),
        engine.zero_state(1),
        uniforms=np.array([[np.nextafter(1.0, 0)]]),
        sampling=SamplingSettings(),
    )
    assert drawn[0, 0] == 2


def test_only_symbols_that_the_automaton_allows_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    # Symbols 0 and 1 take turns; 2 may follow nothing.
    monkeypatch.setattr(call, "TRANSITIONS", np.array([[1, 2, 2], [2, 0, 2], [2, 2, 2]], np.uint8))
    monkeypatch.setattr(call, "ALLOWED", np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], bool))
    monkeypatch.setattr(call, "NUM_STATES", 3)
    engine = tied_network([0.0, 0.0, 9.0])
    drawn, _, marks = engine.generate(
        np.zeros(2, np.int64),
        engine.zero_state(2),
        uniforms=np.full((5, 2), 0.9),
        sampling=SamplingSettings(),
        marks=np.array([0, 1]),
    )
    assert drawn.T.tolist() == [[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]]
    assert marks.tolist() == [1, 0]


def test_marks_that_do_not_fit_are_refused() -> None:
    words, octets = tied_network([0.0, 1.0]), tied_network([0.0] * 256)

    def generate(engine: Any, marks: list[int]) -> None:
        ids, uniforms = np.zeros(2, np.int64), np.full((3, 2), 0.5)
        engine.generate(ids, engine.zero_state(2), uniforms=uniforms, sampling=SamplingSettings(), marks=marks)

    with pytest.raises(InputError, match="2 symbols, which are not bytes"):
        generate(words, [0, 0])
    for marks in ([0], [0, 200]):
        with pytest.raises(InputError, match="marks must be 2 states"):
            generate(octets, marks)
    generate(octets, [0, 0])


def test_uniforms_and_targets_must_fit_the_ids() -> None:
    engine = tied_network([0.0, 1.0])
    ids, state = np.zeros(2, np.int64), engine.zero_state(2)
    with pytest.raises(InputError, match="one column for each of 2 streams"):
        engine.generate(ids, state, uniforms=np.full((3, 1), 0.5), sampling=SamplingSettings())
    with pytest.raises(InputError, match="must have one shape"):
        engine.score(ids[None], ids[None, :1], state)


def test_the_score_of_a_huge_logit_keeps_its_digits() -> None:
    engine = tied_network([1e30, 1e30, 1e30, 1e30])
    nats, _ = engine.score(np.zeros((1, 1), np.int64), np.full((1, 1), 2), engine.zero_state(1))
    assert nats[0, 0] == pytest.approx(np.log(4), rel=1e-15)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused_and_scored_as_nan(value: float) -> None:
    engine = tied_network([0.0, value, 1.0])
    ids, state = np.zeros(1, np.int64), engine.zero_state(1)
    for temperature in (0.0, 1.0):
        with pytest.raises(NonFiniteError, match="not finite"):
            engine.generate(
                ids, state, uniforms=np.full((1, 1), 0.5), sampling=SamplingSettings(temperature=temperature)
            )
    nats, _ = engine.score(ids[None], ids[None], state)
    assert not np.isfinite(nats).any()


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    engine = tied_network([0.0, 1.0])
    state, good = engine.zero_state(1), np.zeros((1, 1), np.int64)
    for bad in (-1, 2):
        with pytest.raises(InputError, match="2 symbols"):
            engine.score(good + bad, good, state)
        with pytest.raises(InputError, match="2 symbols"):
            engine.score(good, good + bad, state)
        with pytest.raises(InputError, match="2 symbols"):
            engine.step(good[0] + bad, state)


def test_a_state_or_weight_of_the_wrong_shape_is_refused() -> None:
    settings = model("lstm")
    weights = random_weights(settings)
    engine = network.NativeNetwork(settings, weights)
    with pytest.raises(InputError, match="state"):
        engine.step(np.zeros(3, np.int64), engine.zero_state(2))
    with pytest.raises(InputError, match=r"output\.weight"):
        network.NativeNetwork(settings, weights | {"output.weight": np.zeros((2, 2), np.float32)})


@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_the_given_state_is_left_as_it_was(cell: str) -> None:
    settings = model(cell)
    engine = network.NativeNetwork(settings, random_weights(settings))
    state = random_state(engine, 2)
    before = tuple(part.copy() for part in state)
    engine.step(np.array([1, 2]), state)
    assert all(np.array_equal(a, b) for a, b in zip(state, before, strict=True))


def test_of_a_cell_without_a_kernel_there_is_no_network() -> None:
    settings = model("gru")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cells.CELLS, "gru", cells.Cell("GRU", 3, cells.gru_step))
        with pytest.raises(ValueError, match="no cell with a kernel is named ''"):
            network.NativeNetwork(settings, random_weights(settings))
