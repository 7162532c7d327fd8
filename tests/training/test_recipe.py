"""Sizes and rates that are chosen: what a user fixes stays, and the rest follows from text, time and device."""

import itertools

import pytest
from cells import CELLS

from charrnn.errors import SettingsError
from charrnn.training.recipe import DEFAULT_MINUTES, recommend


def recipe(*, num_symbols=1_000_000, vocab_size=65, on_gpu=False, model=None, training=None):
    return recommend(
        num_symbols=num_symbols, vocab_size=vocab_size, on_gpu=on_gpu, model=model or {}, training=training or {}
    )


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("num_symbols", [1, 5, 1000, 50_000, 399_999, 400_000, 10**7, 10**10])
@pytest.mark.parametrize("cell", CELLS)
def test_there_is_a_recipe_for_every_text_cell_and_device(cell, num_symbols, on_gpu):
    found = recipe(num_symbols=num_symbols, on_gpu=on_gpu, model={"cell": cell})
    assert found.model.cell == cell
    assert found.model.vocab_size == 65
    assert found.training.batch_size == (128 if on_gpu else 16)
    assert found.reason.startswith("sized for about ")


def test_a_long_text_gets_minutes_and_a_short_one_passes():
    assert recipe(num_symbols=400_000).training.minutes == DEFAULT_MINUTES
    short = recipe(num_symbols=399_999).training
    assert (short.minutes, short.epochs) == (None, 60.0)
    tiny = recipe(num_symbols=5).training
    # Four hundred updates at the least, each of all that there is.
    assert tiny.epochs == 400


@pytest.mark.parametrize(
    ("epochs", "told"), [(2.5, "about 2.5 passes"), (999.5, "about 999.5 passes"), (123_456.0, "about 123,456 passes")]
)
def test_many_passes_are_told_without_decimals(epochs, told):
    assert told in recipe(training={"epochs": epochs}).reason


@pytest.mark.parametrize("length", [{"minutes": 2.0}, {"epochs": 3.0}, {"steps": 50}], ids=str)
def test_a_length_that_is_given_is_the_only_one(length):
    found = recipe(training=length).training
    assert {name: getattr(found, name) for name in ("minutes", "epochs", "steps")} == {
        "minutes": None,
        "epochs": None,
        "steps": None,
        **length,
    }


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"hidden_size": 77, "num_layers": 3, "bias": False}, {}),
        ({"input": "embedding", "embedding_size": 9}, {}),
        ({}, {"batch_size": 3, "bptt": 11, "learning_rate": 0.123, "dropout": 0.5, "weight_dropout": 0.25, "seed": 9}),
    ],
    ids=str,
)
def test_what_is_given_is_kept(model, training):
    found = recipe(model=model, training=training)
    assert {name: getattr(found.model, name) for name in model} == model
    assert {name: getattr(found.training, name) for name in training} == training


@pytest.mark.parametrize("cell", CELLS)
def test_more_time_never_makes_the_network_smaller(cell):
    sizes = [recipe(model={"cell": cell}, training={"minutes": m}).model.hidden_size for m in (0.1, 0.5, 2, 5, 15, 60)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("cell", CELLS)
def test_more_passes_by_more_weights_are_dropped_more(cell):
    chosen = [
        recipe(num_symbols=n, model={"cell": cell, "hidden_size": size}, training={"epochs": epochs}).training
        for n, size, epochs in ((10**8, 64, 1.0), (10**6, 256, 10.0), (10**5, 512, 100.0), (10**4, 1024, 1000.0))
    ]
    for name in ("dropout", "weight_dropout"):
        shares = [getattr(each, name) for each in chosen]
        assert shares == sorted(shares)
        assert shares[0] == 0
    assert all(before.dropout < after.dropout for before, after in itertools.pairwise(chosen[:3]))
    assert chosen[-1].dropout <= 0.6


def test_a_wide_network_gets_a_smaller_rate():
    rates = {size: recipe(model={"hidden_size": size}).training.learning_rate for size in (64, 256, 512, 1024)}
    assert rates[64] == rates[256] == 2 * rates[512] == 4 * rates[1024]


def test_many_symbols_enter_as_learned_vectors():
    assert recipe(vocab_size=512).model.input == "one-hot"
    many = recipe(vocab_size=513).model
    assert (many.input, many.embedding_size) == ("embedding", min(256, many.hidden_size))
    assert recipe(model={"embedding_size": 20}).model.input == "embedding"
    assert recipe(vocab_size=513, model={"input": "one-hot"}).model.input == "one-hot"
    with pytest.raises(SettingsError, match="`embedding_size` goes with `input=embedding`"):
        recipe(model={"input": "one-hot", "embedding_size": 20})


@pytest.mark.parametrize(
    ("model", "training", "told"),
    [({"hidden_size": -1}, {}, "hidden_size is -1"), ({}, {"minutes": 1.0, "steps": 3}, "exactly one of")],
)
def test_what_is_given_wrongly_is_refused(model, training, told):
    with pytest.raises(SettingsError, match=told):
        recipe(model=model, training=training)
