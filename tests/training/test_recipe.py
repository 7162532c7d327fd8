"""Sizes and rates that are chosen where the user names none."""

import re
from dataclasses import asdict

import pytest
from cells import CELLS
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import SettingsError
from charrnn.training.recipe import recommend

MODEL = {
    "cell": st.sampled_from(CELLS),
    "num_layers": st.integers(1, 3),
    "hidden_size": st.integers(1, 900),
    "input": st.sampled_from(["one-hot", "embedding"]),
    "embedding_size": st.integers(1, 300),
    "dropout": st.floats(0, 0.9),
    "weight_dropout": st.floats(0, 0.9),
    "bias": st.booleans(),
}
TRAINING = {
    "batch_size": st.integers(1, 200),
    "bptt": st.integers(1, 200),
    "learning_rate": st.floats(1e-6, 1),
    "grad_clip": st.floats(0.01, 10),
    "averaging": st.floats(0, 1),
    "patience": st.integers(1, 100),
    "seed": st.integers(0, 2**63 - 1),
}
ENDS = {"minutes": st.floats(0.01, 100), "epochs": st.floats(0.1, 100), "steps": st.integers(1, 10**6)}
some_training = st.builds(
    lambda rest, end: rest | end,
    st.fixed_dictionaries({}, optional=TRAINING),
    st.one_of(st.just({}), *(st.fixed_dictionaries({name: value}) for name, value in ENDS.items())),
)


def recipe(num_symbols=1_000_000, *, vocab_size=65, on_gpu=False, model=None, **training):
    return recommend(
        num_symbols=num_symbols, vocab_size=vocab_size, on_gpu=on_gpu, model=model or {}, training=training
    )


@given(
    num_symbols=st.integers(2, 10**10),
    vocab_size=st.integers(1, 5000),
    on_gpu=st.booleans(),
    model=st.fixed_dictionaries({}, optional=MODEL),
    training=some_training,
)
def test_what_the_user_chose_is_kept_and_the_rest_is_in_range(num_symbols, vocab_size, on_gpu, model, training):
    found = recipe(num_symbols, vocab_size=vocab_size, on_gpu=on_gpu, model=model, **training)  # no SettingsError
    chosen = asdict(found.model) | asdict(found.training)
    assert chosen["vocab_size"] == vocab_size
    assert {name: chosen[name] for name in model | training} == model | training
    assert sum(chosen[name] is not None for name in ENDS) == 1
    assert re.fullmatch(r"sized for about [\d.]+ passes over the text", found.reason)


@pytest.mark.parametrize(("field", "value"), [("hidden_size", -1), ("dropout", 1.5)])
def test_a_choice_of_the_user_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(SettingsError, match=field):
        recipe(model={field: value}, steps=10)


def test_a_short_text_is_given_passes_and_a_long_one_minutes():
    short, long = recipe(399_999).training, recipe(400_000).training
    assert (short.epochs, short.minutes) == (60, None)
    assert (long.epochs, long.minutes) == (None, 5)


@pytest.mark.parametrize("num_symbols", [2, 50, 1024, 5000])
def test_a_tiny_text_is_given_some_hundred_updates_all_the_same(num_symbols):
    choice = recipe(num_symbols).training
    # A window holds at most 16 x 64 symbols, and no more than there are.
    assert choice.epochs * num_symbols / min(choice.batch_size * choice.bptt, num_symbols) >= 400 * 0.999


@pytest.mark.parametrize("cell", CELLS)
def test_more_time_never_makes_a_smaller_network(cell):
    sizes = [recipe(model={"cell": cell}, minutes=minutes).model.hidden_size for minutes in (0.1, 0.5, 2, 5, 15, 60)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("on_gpu", [False, True])
def test_more_text_never_makes_a_smaller_network(on_gpu):
    sizes = [recipe(10**power, on_gpu=on_gpu, minutes=15).model.hidden_size for power in range(3, 9)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("cell", CELLS)
def test_the_rate_falls_in_proportion_to_the_units_beyond_256(cell):
    rates = {size: recipe(model={"cell": cell, "hidden_size": size}).training.learning_rate for size in (64, 256, 1024)}
    assert rates[64] == rates[256]
    assert rates[1024] == pytest.approx(rates[256] / 4)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_grows_with_the_passes_and_with_the_weights(cell):
    def dropout(minutes, hidden_size):
        return recipe(model={"cell": cell, "hidden_size": hidden_size}, minutes=minutes).model.dropout

    by_time = [dropout(minutes, 256) for minutes in (0.01, 1, 5, 20, 1000, 100_000)]
    by_size = [dropout(5, size) for size in (8, 128, 512)]
    assert by_time == sorted(by_time)
    assert by_size == sorted(by_size)
    assert by_time[0] == 0  # less than a pass: nothing is learned by heart
    assert by_size[0] < by_size[-1]
    assert by_time[-1] == by_time[-2] < 1  # a limit


def test_many_symbols_are_embedded_in_vectors_no_longer_than_the_state():
    assert recipe(vocab_size=512).model.input == "one-hot"
    many = recipe(vocab_size=513, model={"hidden_size": 100}).model
    assert (many.input, many.embedding_size) == ("embedding", 100)
    assert recipe(vocab_size=513, model={"hidden_size": 700}).model.embedding_size == 256


def test_a_gpu_is_given_more_streams_and_longer_windows():
    cpu, gpu = recipe().training, recipe(on_gpu=True).training
    assert (cpu.batch_size, cpu.bptt) < (gpu.batch_size, gpu.bptt)
    assert gpu.bptt > cpu.bptt
