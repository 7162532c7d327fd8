"""What is written under a limit copies no more than the limit, whoever writes."""

from collections import defaultdict

import numpy as np
import pytest

from charrnn.errors import SettingsError
from charrnn.inference.copying import longest_common
from charrnn.inference.generation import generate
from charrnn.inference.settings import GenerationSettings
from charrnn.models import copy_limit
from charrnn.models.copy_limit import Continuations, CopyLimit
from charrnn.models.predictor import Predictor
from charrnn.models.settings import SamplingSettings
from charrnn.text.vocab import Vocab

LEARNED = "pack my box with five dozen liquor jugs; " * 6
VOCAB = Vocab.of_text(LEARNED + "XYZ")
IDS = VOCAB.encode(LEARNED)


class Heart(Predictor):
    """Knows a text by heart: after any three symbols it is all but sure of those that follow them there."""

    def __init__(self, ids, num_symbols):
        self._num_symbols = num_symbols
        self._after = defaultdict(lambda: np.zeros(num_symbols))
        for i, symbol in enumerate(ids):
            for length in range(min(i, 3) + 1):
                self._after[tuple(ids[i - length : i])][symbol] += 1000.0**length

    @property
    def num_symbols(self):
        return self._num_symbols

    def zero_state(self, num_streams):
        return Last(np.zeros((num_streams, 3), np.intp))

    def step(self, ids, state):
        last = np.concatenate([state.symbols[:, 1:], np.asarray(ids, np.intp)[:, None]], axis=1)
        p = [sum(self._after[tuple(row[3 - length :])] for length in range(4)) + 1e-3 for row in last.tolist()]
        return np.log(p), Last(last)


class Last:
    """The last three symbols of each stream."""

    def __init__(self, symbols):
        self.symbols = symbols

    def of_streams(self, streams):
        return Last(self.symbols[streams])


HEART = Heart(IDS, VOCAB.size)


def forced():
    raise AssertionError("some symbol would not have made a copy too long")


def texts_of(predictor, vocab=VOCAB, *, prompt="", **settings):
    found = [""] * settings.get("num_samples", 1)
    for chunk in generate(predictor, vocab, GenerationSettings(**{"seed": 3, **settings}), prompt=prompt):
        found[chunk.sample] += chunk.text
    return found


def longest_copy(text, learned=LEARNED):
    """The length of the longest passage of ``text`` in ``learned``, by trying all."""
    return max(
        length
        for begin in range(len(text))
        for length in range(len(text) - begin + 1)
        if text[begin : begin + length] in learned
    )


def limited(predictor=HEART, ids=IDS, *, most, when_forced=forced):
    return CopyLimit(predictor, Continuations(ids, most, predictor.num_symbols), when_forced=when_forced)


@pytest.mark.parametrize("most", [3, 4, 9, 25])
@pytest.mark.parametrize("temperature", [0, 0.7])
def test_no_more_is_copied_than_the_limit_and_no_less(most, temperature):
    assert longest_copy(texts_of(HEART, length=150, temperature=temperature)[0]) > 60
    (text,) = texts_of(limited(most=most), length=150, temperature=temperature)
    assert longest_copy(text) == most


def test_many_samples_keep_the_limit_and_do_not_depend_on_their_number():
    many = texts_of(limited(most=5), length=80, num_samples=4, temperature=1.5)
    assert len(set(many)) == 4
    for text in many:
        assert longest_copy(text) == 5
    assert texts_of(limited(most=5), length=80, num_samples=2, temperature=1.5) == many[:2]


def test_the_prompt_counts_as_written():
    prompt = "with five"
    assert texts_of(HEART, prompt=prompt, length=6, temperature=0) == [" dozen"]
    (text,) = texts_of(limited(most=11), prompt=prompt, length=30, temperature=0)
    assert text.startswith(" d")
    assert longest_copy(prompt + text) == 11
    assert texts_of(limited(most=11), prompt="X" * 40 + prompt, length=30, temperature=0) == [text]


def test_a_prompt_that_is_too_long_a_copy_is_not_gone_on_with():
    (text,) = texts_of(limited(most=6), prompt=LEARNED[:40], length=3, temperature=0)
    assert text[0] != LEARNED[40]


def test_only_what_the_predictor_predicts_is_scored():
    plain, held = HEART.zero_state(1), limited(most=4).zero_state(1)
    ids, targets = IDS[:60, None], IDS[1:61, None]
    expected, _ = HEART.score(ids, targets, plain)
    found, after = limited(most=4).score(ids, targets, held)
    assert (found == expected).all()
    assert (after.history[:, 0] == IDS[56:60]).all()


def test_where_every_symbol_copies_one_is_drawn_as_without_limit():
    vocab = Vocab.of_text("ab")
    ids = vocab.encode("aabba")  # each symbol follows each
    uniforms = np.random.default_rng(0).random((40, 1))
    flat = Heart(ids, 2)
    calls = []
    held = limited(flat, ids, most=1, when_forced=lambda: calls.append(True))
    sampling = SamplingSettings()
    found = held.generate(np.zeros(1, np.intp), held.zero_state(1), uniforms=uniforms, sampling=sampling)
    plain = flat.generate(np.zeros(1, np.intp), flat.zero_state(1), uniforms=uniforms, sampling=sampling)
    assert len(calls) == 40
    assert (found.ids == plain.ids).all()


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_model_of_bytes_writes_utf_8_and_keeps_the_limit(most):
    learned = "où est l'été? là où naît l'œuvre… " * 20
    vocab = Vocab.bytes()
    ids = vocab.encode(learned)
    (text,) = texts_of(limited(Heart(ids, 256), ids, most=most), vocab, length=300)
    assert "\ufffd" not in text
    assert longest_common(vocab.encode(text), ids)[1] == most


def test_followers_are_those_that_a_search_finds():
    random = np.random.default_rng(1)
    text = random.integers(0, 5, 300)
    for num_before in (1, 2, 4, 8):
        index = Continuations(text, num_before, 7)
        history = np.stack([text[i : i + num_before] for i in (0, 50, 300 - num_before)], axis=1)
        history = np.concatenate([history, random.integers(0, 7, (num_before, 6))], axis=1)
        history[0, -1] = 7  # nothing was read there
        found = index.after(history)
        for column, follows in zip(history.T.tolist(), found, strict=True):
            places = [i for i in range(300 - num_before) if text[i : i + num_before].tolist() == column]
            assert np.flatnonzero(follows).tolist() == sorted({int(text[i + num_before]) for i in places})


def test_a_text_of_no_more_than_the_limit_forbids_nothing():
    for length in (1, 5):
        assert not Continuations(IDS[:length], 5, VOCAB.size).after(IDS[:5, None]).any()


def test_a_text_too_large_for_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(copy_limit, "num_memory_bytes", lambda: 2 * 24 * len(IDS) - 1)
    with pytest.raises(SettingsError, match="`max_copy`"):
        Continuations(IDS, 5, VOCAB.size)
    monkeypatch.setattr(copy_limit, "num_memory_bytes", lambda: 2 * 24 * len(IDS))
    Continuations(IDS, 5, VOCAB.size)
