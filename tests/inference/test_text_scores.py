"""Texts scored as a user asks: named, summed, ranked by line, and apart from the exact score."""

import math
import os
from dataclasses import replace

import pytest
from cells import CELLS
from small_network import random_weights

from charrnn.errors import InputError
from charrnn.inference import text_scores
from charrnn.inference.language_model import LanguageModel
from charrnn.inference.settings import ScoringSettings
from charrnn.inference.text_scores import score_texts
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile
from charrnn.text.vocab import Vocab
from charrnn.units import ZERO_SCORE

VOCAB = Vocab.of_text("\n abcdefghé.")
TEXT = "abc feed.\nbad é cafe\n\nface a bag.\n" * 5
ONE_THREAD = {"threads": 1}


def model_of(vocab=VOCAB, cell="lstm"):
    settings = ModelSettings(vocab_size=vocab.size, cell=cell, hidden_size=6)
    return ModelFile(settings, vocab, random_weights(settings), {})


def written(tmp_path, **texts):
    """Names of texts, each in a file of its own."""
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return [str(tmp_path / name) for name in texts]


@pytest.mark.parametrize("cell", CELLS)
def test_each_text_is_scored_from_its_own_start_and_the_total_sums_them(tmp_path, cell):
    model = model_of(cell=cell)
    names = written(tmp_path, one=TEXT, two="a bad bag\n")
    found = score_texts(model, names, ScoringSettings(**ONE_THREAD))
    loaded = LanguageModel(model, num_threads=1)
    assert [text.name for text in found.texts] == names
    assert [text.score for text in found.texts] == [loaded.score(TEXT), loaded.score("a bad bag\n")]
    assert found.total == found.texts[0].score + found.texts[1].score
    assert (found.protocol, found.apart, found.temperature) == ("exact", {}, None)


def test_texts_side_by_side_have_the_scores_they_have_alone(tmp_path):
    names = written(tmp_path, **{f"text-{i}": TEXT[i:] for i in range(5)})
    alone = score_texts(model_of(), names, ScoringSettings(threads=1))
    together = score_texts(model_of(), names, ScoringSettings(threads=3))
    assert together == alone


@pytest.mark.parametrize(("threads", "most"), [(1, None), (2, 2), (7, 3), (None, 3)])
def test_no_more_texts_go_side_by_side_than_threads_were_asked_for(tmp_path, monkeypatch, threads, most):
    pools = []

    class Pool(text_scores.ThreadPoolExecutor):
        def __init__(self, num_threads):
            pools.append(num_threads)
            super().__init__(num_threads)

    monkeypatch.setattr(text_scores, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(text_scores, "num_cores", lambda: 64)
    names = written(tmp_path, one="abc", two="bad", three="cafe")
    score_texts(model_of(), names, ScoringSettings(threads=threads))
    assert pools == ([] if most is None else [most])


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"windowed": 16}, [TEXT[begin : begin + 17] for begin in range(0, len(TEXT) - 1, 16)]),
        ({"streams": 3}, [TEXT]),  # the warm-up reaches the start of so short a text: nothing is lost
    ],
    ids=str,
)
def test_each_protocol_reads_the_stretches_it_names(tmp_path, options, parts):
    found = score_texts(model_of(), written(tmp_path, text=TEXT), ScoringSettings(**options, **ONE_THREAD))
    loaded = LanguageModel(model_of(), num_threads=1)
    # The same float32 network on both sides; only products of other heights may round otherwise.
    assert found.total.nats == pytest.approx(math.fsum(loaded.score(part).nats for part in parts), rel=1e-6)
    assert found.total.num_predictions == len(TEXT) - 1
    assert found.protocol == ScoringSettings(**options).protocol


def test_lines_of_all_texts_are_ranked_together(tmp_path):
    names = written(tmp_path, one="a bad bag\n\nface\n", two="é\nhead")
    found = score_texts(model_of(), names, ScoringSettings(by_line=True, **ONE_THREAD))
    one, two = found.texts
    assert [(line.line, line.text) for line in one.lines] == [(1, "a bad bag"), (2, ""), (3, "face")]
    assert [(line.line, line.text) for line in two.lines] == [(1, "é"), (2, "head")]
    lines = [*one.lines, *two.lines]
    scores = LanguageModel(model_of(), num_threads=1).score_lines(["a bad bag\n", "\n", "face\n", "é\n", "head"])
    for line, score in zip(lines, scores, strict=True):
        # The same float32 network; only products of other heights may round otherwise.
        assert line.score.nats == pytest.approx(score.nats, rel=1e-6)
        assert line.score.num_predictions == score.num_predictions
    ranked = sorted(lines, key=lambda line: line.rank)
    assert [line.rank for line in ranked] == [1, 2, 3, 4, 5]
    assert [line.score.nats for line in ranked] == sorted(line.score.nats for line in lines)
    assert one.score == sum((line.score for line in one.lines), ZERO_SCORE)
    assert found.protocol == "by-line"


def test_lines_as_probable_as_each_other_share_a_rank(tmp_path):
    names = written(tmp_path, one="face\nbad\nface\n", two="a\n" + "face\nhead\n" * 70)
    found = score_texts(model_of(), names, ScoringSettings(by_line=True, **ONE_THREAD))
    lines = [line for text in found.texts for line in text.lines]
    for line in lines:
        better = sum(other.score.nats < line.score.nats for other in lines)
        assert line.rank == better + 1
    assert len({line.rank for line in lines if line.text == "face"}) == 1
    assert len({line.rank for line in lines}) == 4


def test_typed_texts_come_after_those_that_are_read(tmp_path):
    names = written(tmp_path, one=TEXT)
    found = score_texts(model_of(), names, ScoringSettings(encoding="latin-1", unknown="skip"), typed=["é bad", "a\nb"])
    assert [text.name for text in found.texts] == [*names, "é bad", "a..."]
    loaded = LanguageModel(model_of())
    # The same float32 network; only products of other heights may round otherwise.
    assert found.texts[1].score.nats == pytest.approx(loaded.score("é bad").nats, rel=1e-6)
    of_bytes = score_texts(model_of(Vocab.bytes()), [], ScoringSettings(), typed=["é"])
    assert (of_bytes.total.num_predictions, of_bytes.texts[0].name) == (1, "é")  # two bytes, the first one given


def test_notes_on_the_text_that_fits_a_temperature_are_told(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text(TEXT)
    (tmp_path / "other" / "b.bin").write_bytes(b"\0\1\2")
    settings = ScoringSettings(fit_temperature=os.fspath(tmp_path / "other"), **ONE_THREAD)
    found = score_texts(model_of(), written(tmp_path, one=TEXT), settings)
    assert [note for note in found.notes if "passed over 1" in note and "b.bin" in note]


def test_a_line_of_which_nothing_is_predicted_has_no_rank(tmp_path):
    skip = ScoringSettings(by_line=True, unknown="skip", **ONE_THREAD)
    (text,) = score_texts(model_of(Vocab.of_text("abc")), written(tmp_path, text="ab\nZZ\na\ncab\n"), skip).texts
    # Without a newline in the vocabulary a line's first symbol is given.
    assert [(line.text, line.rank is None) for line in text.lines] == [
        ("ab", False),
        ("ZZ", True),
        ("a", True),
        ("cab", False),
    ]
    assert sorted(line.rank for line in text.lines if line.rank) == [1, 2]
    assert [line.score.num_unknown for line in text.lines] == [0, 2, 0, 0]


def test_lines_of_a_model_of_bytes_may_hold_any_bytes(tmp_path):
    found = score_texts(
        model_of(Vocab.bytes()), written(tmp_path, text=b"a\xff\n\xc3\xa9"), ScoringSettings(by_line=True)
    )
    lines = found.texts[0].lines
    found = [(line.text, line.score.num_bytes, line.score.num_chars) for line in lines]
    assert found == [
        ("a\ufffd", 3, 3),
        ("é", 2, 1),
    ]


@pytest.mark.parametrize("by_line", [True, False])
def test_the_first_unknown_character_is_named_with_its_place(tmp_path, by_line):
    names = written(tmp_path, text="abc\nabXc\x1bY\n")
    with pytest.raises(InputError, match=r"U\+0058.* line 2, column 3.*`unknown=skip`") as caught:
        score_texts(model_of(), names, ScoringSettings(by_line=by_line, **ONE_THREAD))
    assert "\x1b" not in str(caught.value)


def test_skipped_characters_are_counted_and_passed_over(tmp_path):
    names = written(tmp_path, text="abX cafYe\nZbad\n")
    plain = LanguageModel(model_of(), num_threads=1).score("ab cafe\nbad\n")
    found = score_texts(model_of(), names, ScoringSettings(unknown="skip", **ONE_THREAD))
    assert found.total == replace(plain, num_unknown=3)
    lines = score_texts(model_of(), names, ScoringSettings(unknown="skip", by_line=True, **ONE_THREAD)).texts[0].lines
    assert [line.score.num_unknown for line in lines] == [2, 1]


@pytest.mark.parametrize("text", ["", "a", "Q", "QaQ"])
def test_where_nothing_is_predicted_there_is_no_score(tmp_path, text):
    with pytest.raises(InputError, match="nothing to score"):
        score_texts(model_of(), written(tmp_path, text=text), ScoringSettings(unknown="skip", **ONE_THREAD))


def test_an_empty_text_beside_another_has_a_score_without_numbers(tmp_path):
    found = score_texts(model_of(), written(tmp_path, empty="", text=TEXT), ScoringSettings(**ONE_THREAD))
    assert found.texts[0].score == ZERO_SCORE
    assert found.total == found.texts[1].score


def test_scores_by_more_than_the_model_stand_apart_and_change_nothing_else(tmp_path):
    names = written(tmp_path, text=TEXT, another="face a bag\n" * 9)
    (other,) = written(tmp_path, other=TEXT[::-1])
    plain = score_texts(model_of(), names, ScoringSettings(**ONE_THREAD))
    found = score_texts(model_of(), names, ScoringSettings(dynamic=True, fit_temperature=other, **ONE_THREAD))
    assert replace(found, apart={}) == plain
    assert list(found.apart) == ["temperature", "dynamic"]
    tempered, dynamic = found.apart.values()
    assert 0.25 <= tempered.temperature <= 4
    assert (
        tempered.protocol
        == f"exact, temperature {tempered.temperature:.4f} (the border of those tried: 0.25 to 4) fitted on {other}"
    )
    assert (dynamic.protocol, dynamic.temperature) == ("dynamic", None)
    for each in (tempered, dynamic):
        assert [text.name for text in each.texts] == names
        assert each.total.num_predictions == plain.total.num_predictions
        assert each.total.nats != plain.total.nats
    assert tempered.total.nats < plain.total.nats


def test_a_temperature_is_fitted_on_one_text(tmp_path):
    written(tmp_path, one=TEXT, two=TEXT)
    with pytest.raises(InputError, match="names 2 texts"):
        score_texts(model_of(), [str(tmp_path / "one")], ScoringSettings(fit_temperature=os.fspath(tmp_path)))
