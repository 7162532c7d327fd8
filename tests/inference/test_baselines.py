"""What baselines make of a text is what they say they do."""

import bz2
import gzip
import lzma
import math

import numpy as np
import pytest

from charrnn.inference import baselines
from charrnn.inference.baselines import BASELINES, Cost, Given, compare
from charrnn.inference.scoring import score_ids
from charrnn.inference.training_text import TrainingText
from charrnn.models.counts.kneser_ney import KneserNey
from charrnn.models.counts.learning import classes_of, learn
from charrnn.models.counts.predictor import Counts, GrowingCounts
from charrnn.models.counts.settings import DEFAULT_MEMORY, num_lines_for
from charrnn.text.corpus import Encoded
from charrnn.text.vocab import Vocab

LEARNED = "le café est là, où l'été brûle; la nuit est là. " * 30
TEXTS = ("la nuit, l'été est là; le café brûle. " * 5, "où est la nuit?".replace("?", "."), "l")
CHARS = Vocab.of_text(LEARNED + "XYZ")
# Sums of some hundred terms in float64.
TOLERANCE = 1e-12


def given_of(vocab=CHARS, learned=LEARNED, texts=TEXTS):
    return Given(vocab.encode(learned), [vocab.encode(text) for text in texts], vocab)


def compared(texts, learned, vocab, **more):
    encoded = [Encoded(name, vocab.encode(text), 0) for name, text in texts.items()]
    return compare(encoded, TrainingText(vocab.encode(learned), ("text.txt",), **more), vocab)


@pytest.mark.parametrize("vocab", [CHARS, Vocab.bytes()], ids=lambda vocab: vocab.level)
def test_predictors_predict_all_but_the_first_symbol(vocab):
    given = given_of(vocab)
    targets = np.concatenate([ids[1:] for ids in given.texts])
    counts = np.bincount(given.learned, minlength=vocab.size) + 0.5
    model = KneserNey.fit(given.learned, 3, vocab.size)
    expected = {
        "uniform": len(targets) * math.log(vocab.size),
        "order 0": -np.log(counts / counts.sum())[targets].sum(),
        "3-gram": sum(model.nats(ids[1:], context=ids[:1]).sum() for ids in given.texts),
    }
    sizes = [vocab.measure(ids[1:]) for ids in given.texts]
    for name, nats in expected.items():
        cost = BASELINES[name](given)
        assert cost.nats == pytest.approx(nats, rel=TOLERANCE)
        assert (cost.num_chars, cost.num_bytes) == tuple(map(sum, zip(*sizes, strict=True)))
        assert cost.learning_seconds >= 0
        assert cost.scoring_seconds >= 0


def test_longer_contexts_and_more_counts_cost_less():
    given = given_of(texts=["l'été brûle; la nuit est là. le café est là, où l'été"])
    bits = [BASELINES[name](given).bits_per_char for name in ("uniform", "order 0", "3-gram", "5-gram")]
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < 1 < bits[1] < bits[0] == pytest.approx(math.log2(CHARS.size))


@pytest.mark.parametrize("vocab", [CHARS, Vocab.bytes()], ids=lambda vocab: vocab.level)
def test_compressors_cost_what_the_texts_add_to_the_file(vocab):
    texts = "".join(TEXTS).encode()
    learned = LEARNED.encode()
    preset = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}
    compress = {
        "xz": lambda data: lzma.compress(data, filters=[preset]),
        "bz2": bz2.compress,
        "gzip": lambda data: gzip.compress(data, 9),
    }
    for name, function in compress.items():
        cost = BASELINES[name](given_of(vocab))
        added = len(function(learned + texts)) - len(function(learned))
        assert cost.nats == pytest.approx(8 * added * math.log(2), rel=TOLERANCE)
        assert (cost.num_chars, cost.num_bytes) == (len("".join(TEXTS)), len(texts))


def test_xz_reaches_back_to_the_first_byte_and_gzip_does_not():
    random = np.random.default_rng(0).integers(0, 256, 300_000).astype(np.uint8)
    given = Given(random, [random[:20_000]], Vocab.bytes())
    assert BASELINES["xz"](given).bits_per_byte < 0.5  # a copy is told in stretches of 273 bytes, some 80 bits each
    assert BASELINES["gzip"](given).bits_per_byte > 7.9


def test_costs_are_averages_over_characters_and_bytes():
    cost = Cost(nats=math.log(2) * 12, num_chars=4, num_bytes=6, learning_seconds=None, scoring_seconds=0.0)
    assert (cost.bits_per_char, cost.bits_per_byte) == (pytest.approx(3), pytest.approx(2))
    nothing = cost._replace(num_chars=0, num_bytes=0)
    assert math.isnan(nothing.bits_per_char)
    assert math.isnan(nothing.bits_per_byte)


def test_of_a_long_training_text_the_end_is_learned_and_said(monkeypatch):
    monkeypatch.setattr(baselines, "MAX_LEARNED", 400)
    text = {"one": "la nuit est là. " * 3}
    found, expected = compared(text, LEARNED, CHARS), compared(text, LEARNED[-400:], CHARS)
    assert {name: cost.nats for name, cost in found.costs.items()} == {
        name: cost.nats for name, cost in expected.costs.items()
    }
    assert found.num_learned == 400
    assert any(f"the last 400 of {len(LEARNED):,} symbols" in note for note in found.notes)
    assert not any("the last" in note for note in expected.notes)


def test_compressors_that_cannot_look_back_far_enough_are_named(monkeypatch):
    monkeypatch.setattr(baselines, "_WINDOWS", {"bz2": 10_000, "gzip": 500})
    (note,) = compared({"one": "café"}, LEARNED[:490], CHARS).notes[:1]
    assert "gzip looks back 500 bytes" in note
    assert "bz2" not in note
    assert f"{len(LEARNED[:490].encode()):,} bytes" in note
    monkeypatch.setattr(baselines, "_WINDOWS", {"gzip": len(LEARNED.encode())})
    assert not any("looks back" in note for note in compared({"one": "XYZ"}, LEARNED, CHARS).notes)


def test_what_is_in_the_training_text_is_said_to_be():
    random = "".join(np.random.default_rng(0).choice(list("XYZ"), 300))
    texts = {"seen": LEARNED[10:310], "half": LEARNED[:150] + random[:150], "new": random}
    found = compared(texts, LEARNED, CHARS)
    assert [note.split(" is in")[0] for note in found.notes] == ["100 % of 'seen'", "50 % of 'half'"]
    assert found.copied_share == pytest.approx(450 / 900, abs=0.005)  # the half may go on by a symbol


def test_others_stand_after_the_baselines():
    beside = {"LSTM 1x4": Cost(1.0, 2, 2, 3.0, 4.0)}
    encoded = [Encoded("one", CHARS.encode("café"), 0)]
    found = compare(encoded, TrainingText(CHARS.encode(LEARNED), ("text.txt",)), CHARS, beside=beside)
    assert list(found.costs) == [*BASELINES, "counts", "LSTM 1x4"]
    assert found.costs["LSTM 1x4"] == beside["LSTM 1x4"]
    assert (found.names, found.level) == (("text.txt",), "char")


def test_counts_are_those_of_the_command_and_may_go_on_counting():
    encoded = [Encoded(str(at), CHARS.encode(text), 0) for at, text in enumerate(TEXTS)]
    learned = CHARS.encode(LEARNED)
    costs = compare(encoded, TrainingText(learned, ("text.txt",)), CHARS, learns=True).costs
    lines = num_lines_for(len(learned), most_bytes=DEFAULT_MEMORY << 20)
    expected = learn(learned.astype(np.int64), classes_of(CHARS), num_lines=lines)
    still = Counts(expected.tables.with_weights(expected.fixed_weights))
    growing = GrowingCounts(expected.tables)
    for name, predictor in {"counts": still, "dynamic counts": growing}.items():
        scores = [score_ids(predictor, text.ids, vocab=CHARS) for text in encoded]
        assert costs[name].nats == pytest.approx(sum(score.nats for score in scores), rel=TOLERANCE)
        assert costs[name].num_chars == sum(len(text) - 1 for text in TEXTS)
        assert costs[name].learning_seconds > 0


def test_more_symbols_than_counts_can_hold_are_not_counted(monkeypatch):
    monkeypatch.setattr(baselines, "MAX_SYMBOLS", CHARS.size - 1)
    assert "counts" not in compared({"one": "café"}, LEARNED, CHARS).costs
