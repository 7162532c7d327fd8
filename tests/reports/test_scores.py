"""Scores as tables and as JSON: the same numbers, in the order of the texts."""

import json
import math

import pytest

from charrnn.inference.text_scores import LineScore, ScoredTexts, TextScore
from charrnn.reports.scores import scores_to_json, write_scores
from charrnn.units import FIGURES, ZERO_SCORE, Score

ONE = Score(nats=6 * math.log(2), nats_squared=7.0, num_predictions=6, num_chars=6, num_bytes=8)
TWO = Score(nats=3 * math.log(4), nats_squared=9.0, num_predictions=3, num_chars=3, num_bytes=3, num_unknown=2)


def shown(capsys, scored):
    write_scores(scored)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_one_text_is_a_list_of_its_figures(capsys):
    rows = shown(capsys, ScoredTexts("exact", (TextScore("a.txt", ONE),)))
    assert rows[:2] == [["text", "a.txt"], ["protocol", "exact"]]
    figures = dict(rows[2:])
    assert (figures["num_chars"], figures["num_unknown"]) == ("6", "0")
    assert (figures["bits_per_char"], figures["bits_per_byte"], figures["perplexity"]) == ("1.0000", "0.7500", "2.0000")


def test_several_texts_are_a_row_each_and_one_for_all(capsys):
    heading, *rows = shown(capsys, ScoredTexts("exact", (TextScore("a.txt", ONE), TextScore("b.txt", TWO))))
    assert [row[0] for row in rows] == ["a.txt", "b.txt", "total"]
    bits = heading.index("bits_per_char")
    # 6 characters of one bit and 3 of two: 12 bits of 9 characters.
    assert [row[bits] for row in rows] == ["1.0000", "2.0000", f"{12 / 9:.4f}"]
    assert [row[heading.index("num_unknown")] for row in rows] == ["0", "2", "2"]


def test_figures_of_a_model_of_bytes_are_per_byte(capsys):
    texts = (TextScore("a.txt", ONE), TextScore("b.txt", TWO))
    figures = dict(shown(capsys, ScoredTexts("exact", texts[:1], level="byte"))[2:])
    assert list(figures) == [
        "num_bytes",
        "nats_per_byte",
        "standard_error_per_byte",
        "bits_per_byte",
        "perplexity_per_byte",
    ]
    assert (figures["num_bytes"], figures["bits_per_byte"]) == ("8", "0.7500")
    assert figures["nats_per_byte"] == f"{6 * math.log(2) / 8:.4f}"
    assert figures["perplexity_per_byte"] == f"{2**0.75:.4f}"
    assert float(figures["standard_error_per_byte"]) == pytest.approx(ONE.standard_error * 6 / 8, abs=1e-4)
    heading, *_ = shown(capsys, ScoredTexts("exact", texts, level="byte"))
    assert heading == ["text", *figures]
    lines = (LineScore(1, "to be", ONE, 1),)
    heading, line, *_ = shown(capsys, ScoredTexts("by-line", (TextScore("a.txt", ONE, lines),), level="byte"))
    assert heading == ["line", "rank", "num_bytes", "nats", "nats_per_byte", "text"]
    assert line[2:5] == ["8", f"{6 * math.log(2):.4f}", f"{6 * math.log(2) / 8:.4f}"]


def test_a_figure_that_is_no_number_is_a_dash(capsys):
    figures = dict(shown(capsys, ScoredTexts("exact", (TextScore("a.txt", ZERO_SCORE),))))
    assert figures["perplexity"] == figures["standard_error"] == "-"
    assert figures["num_chars"] == "0"


def test_lines_stand_before_their_text_with_place_and_rank(capsys):
    lines = (LineScore(1, "to be", ONE, 2), LineScore(2, "", ZERO_SCORE), LineScore(3, "or\x1b", TWO, 1))
    rows = shown(capsys, ScoredTexts("by-line", (TextScore("a.txt", ONE + TWO, lines),)))
    assert rows[0] == ["line", "rank", "num_chars", "nats", "nats_per_char", "text"]
    assert rows[1] == ["a.txt:1", "2", "6", f"{6 * math.log(2):.4f}", f"{math.log(2):.4f}", "to", "be"]
    assert rows[2] == ["a.txt:2", "-", "0", "0.0000", "-"]
    assert rows[3][-1] == "or\\x1b"
    assert rows[4] == []
    assert rows[5:7] == [["text", "a.txt"], ["protocol", "by-line"]]


def test_scores_apart_follow_under_their_own_protocol(capsys):
    apart = {
        "temperature": ScoredTexts("exact, warmer", (TextScore("a.txt", ONE),), temperature=1.5),
        "dynamic": ScoredTexts("dynamic", (TextScore("a.txt", TWO),)),
    }
    rows = shown(capsys, ScoredTexts("exact", (TextScore("a.txt", ONE),), apart=apart))
    assert [row[1:] for row in rows if row[:1] == ["protocol"]] == [["exact"], ["exact,", "warmer"], ["dynamic"]]


def test_json_holds_every_figure_of_every_text_and_line():
    lines = (LineScore(1, "to be", ONE, 1), LineScore(2, "", ZERO_SCORE))
    apart = {"temperature": ScoredTexts("exact, warmer", (TextScore("a.txt", TWO),), temperature=1.5)}
    scored = ScoredTexts("by-line", (TextScore("a.txt", ONE, lines), TextScore("b.txt", TWO)), apart=apart)
    facts = json.loads(json.dumps(scores_to_json(scored), allow_nan=False))
    assert (facts["protocol"], [text["name"] for text in facts["files"]]) == ("by-line", ["a.txt", "b.txt"])
    assert {name: facts["files"][1][name] for name in FIGURES} == TWO.to_json()
    assert facts["total"] == (ONE + TWO).to_json()
    first, second = facts["files"][0]["lines"]
    assert first == {"line": 1, "text": "to be", **ONE.to_json(), "rank": 1}
    assert (second["rank"], second["nats_per_char"], second["num_chars"]) == (None, None, 0)
    assert "lines" not in facts["files"][1]
    assert facts["temperature"]["temperature"] == 1.5
    assert facts["temperature"]["total"] == TWO.to_json()
    assert "temperature" not in facts["files"][0]
