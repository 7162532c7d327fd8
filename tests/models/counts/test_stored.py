"""Counts in a file and out of it; arrays that no model has are refused."""

from dataclasses import replace

import numpy as np
import pytest
from small_counts import ids_for, learned

from charrnn.errors import InputError, SettingsError
from charrnn.models.counts.settings import CountsSettings, num_lines_for
from charrnn.models.counts.stored import from_arrays, to_arrays
from charrnn.models.open import open_model
from charrnn.models.shape import shape_from_json, shape_to_json
from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.text.vocab import Vocab


def stored(num_symbols=7, length=301, **more):
    found = learned(num_symbols, length=length, **more)
    settings = CountsSettings(vocab_size=num_symbols, num_lines=len(found.tables.lines), num_text=length)
    return found, settings, to_arrays(found.tables, found.fixed_weights)


def scores(settings, arrays):
    ids = ids_for(settings.vocab_size, 120, seed=8)[:, None]
    for learns in (False, True):
        model = open_model(settings, arrays, learns=learns)
        yield model.score(ids[:-1], ids[1:], model.zero_state(1))[0]


@pytest.mark.parametrize(("num_symbols", "length"), [(1, 2), (2, 5), (7, 301), (300, 200)])
def test_arrays_have_the_names_types_and_shapes_that_settings_say(num_symbols, length):
    _, settings, arrays = stored(num_symbols, length)
    found = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    assert found == settings.tensors()
    numbers = sum(array.size for array in arrays.values())
    assert 0 < settings.num_parameters < 8 * numbers


@pytest.mark.parametrize(("num_symbols", "length"), [(1, 2), (2, 5), (7, 301)])
def test_what_is_read_back_predicts_the_same(tmp_path, num_symbols, length):
    _, settings, arrays = stored(num_symbols, length)
    before = {name: array.copy() for name, array in arrays.items()}
    vocab = Vocab.of_text("".join(map(chr, range(97, 97 + num_symbols))))
    write_model(tmp_path / "m", ModelFile(settings, vocab, arrays, {}))
    file = read_model(tmp_path / "m")
    assert file.settings == settings
    assert shape_from_json(shape_to_json(settings)) == settings
    for one, other in zip(scores(settings, arrays), scores(file.settings, file.weights), strict=True):
        np.testing.assert_array_equal(one, other)
    for name, array in before.items():  # those that go on learning have learned in arrays of their own
        np.testing.assert_array_equal(arrays[name], array)


def test_what_is_opened_is_what_was_learned():
    found, settings, arrays = stored()
    tables, fixed = from_arrays(settings, arrays)
    np.testing.assert_array_equal(tables.lines, found.tables.lines)
    np.testing.assert_array_equal(tables.text, found.tables.text)
    np.testing.assert_array_equal(tables.places, found.tables.places)
    assert all(np.array_equal(fixed[name], weight) for name, weight in found.fixed_weights.items())
    assert all(np.array_equal(tables.weights[name], weight) for name, weight in found.tables.weights.items())


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("growing.by_node", NAN, "by_node"),
        ("fixed.by_match", INF, "by_match"),
        ("fixed.by_order", -1e5, "by_order"),
        ("growing.final", 1e30, "final"),
        ("fixed.ever", 1.0, "ever holds what is no probability"),
        ("growing.lately", -0.01, "lately"),
        ("fixed.match", NAN, "match"),
        ("growing.first", 2.0, "first"),
        ("fixed.second", 1.5, "second"),
        ("fixed.ever_seen", -1.0, "ever_seen"),
        ("growing.match_seen", INF, "match_seen"),
        ("growing.decisions", -1.0, "decisions"),
        ("growing.decisions", NAN, "decisions"),
        ("cuts", 0, "cuts"),
        ("cuts", 1 << 62, "cuts"),
        ("text", 0x0007_0000, "text holds what is no symbol"),
        ("places", 302, "places"),
        ("places", -1, "places"),
        ("classes", 256, "classes"),
        ("classes", -1, "classes"),
    ],
)
def test_an_array_that_no_model_has_is_refused_and_named(name, value, told):
    _, settings, arrays = stored()
    for at in (0, -1):
        wrong = {each: array.copy() for each, array in arrays.items()}
        wrong[name].reshape(-1)[at] = value
        if (name, at) == ("text", -1):
            continue  # beyond the text's end nothing is read
        for learns in (False, True):
            with pytest.raises(InputError, match=told):
                open_model(settings, wrong, learns=learns)


def test_lines_of_any_bytes_do_no_harm():
    _, settings, arrays = stored()
    noise = np.random.default_rng(0).integers(-(1 << 63), 1 << 63, arrays["lines"].shape)
    for nats in scores(settings, {**arrays, "lines": noise}):
        assert (nats > 0).all()
        assert np.isfinite(nats).all()


def test_texts_and_places_of_any_symbols_do_no_harm():
    _, settings, arrays = stored()
    random = np.random.default_rng(0)
    text = np.zeros(4 * len(arrays["text"]), np.uint16)
    text[:301] = random.integers(0, 7, 301)
    places = random.integers(0, 302, (2, settings.num_places)).astype(np.uint32)
    for nats in scores(settings, {**arrays, "text": text.view(np.int64), "places": places.view(np.int64)}):
        assert np.isfinite(nats).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_lines", 0),
        ("num_lines", 3),
        ("vocab_size", 0),
        ("vocab_size", 65_537),
        ("num_text", 0),
        ("num_text", 2**32),
    ],
)
def test_sizes_out_of_range_are_refused(name, value):
    good = {"vocab_size": 7, "num_lines": 256, "num_text": 9}
    CountsSettings(**good)
    with pytest.raises(SettingsError, match=name):
        CountsSettings(**good | {name: value})


@pytest.mark.parametrize("form", ["", "Counts", "transformer", 3, None, []])
def test_a_form_that_is_not_known_is_refused(form):
    with pytest.raises(SettingsError, match="form"):
        shape_from_json({"form": form, "vocab_size": 7})


def test_a_table_has_the_room_it_may_have_and_no_more():
    for num_symbols in (1, 2, 1000, 1_000_000):
        for most in (1 << 20, 3 << 20, 1 << 34):
            lines = num_lines_for(num_symbols, most_bytes=most)
            assert 128 * lines <= most
            assert lines & (lines - 1) == 0
            assert lines * 2 > min(num_symbols * 24 / 16, most / 128)


def test_memory_is_what_the_formula_says():
    found, settings, arrays = stored(7, 4000, num_lines=1 << 12)
    own = sum(arrays[name].nbytes for name in ("lines", "text", "places"))
    assert own == 128 * settings.num_lines + 2 * 4000 + 8 * settings.num_places
    rest = sum(array.nbytes for array in arrays.values()) - own
    assert 368 * 7 < rest < 368 * 7 + 22e6
    assert found.tables.num_text == settings.num_text


def test_models_that_lack_the_last_mixer_are_read_as_if_it_were_0(tmp_path):
    found, settings, arrays = stored()
    for kind in (found.tables.weights, found.fixed_weights):
        kind["by_last"][:] = 0
    without = to_arrays(found.tables, found.fixed_weights)
    older = replace(settings, num_mixers=3)
    facts = {name: value for name, value in shape_to_json(older).items() if name != "num_mixers"}
    assert shape_from_json(facts) == older
    kept = {name: array for name, array in arrays.items() if not name.endswith("by_last")}
    assert kept.keys() == older.tensors().keys()
    for one, other in zip(scores(settings, without), scores(older, kept), strict=True):
        np.testing.assert_array_equal(one, other)
