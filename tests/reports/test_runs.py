"""Runs in a table and side by side, at the width of the terminal."""

import sys
import time
from pathlib import Path

import pytest

from charrnn.models.settings import ModelSettings
from charrnn.reports.runs import age, comparison, comparison_notes, problem_notes, write_comparison, write_runs
from charrnn.storage.run_summary import RunSummary
from charrnn.units import Score


def summary(name="play", **more):
    """A run of an hour, whose score is two bits."""
    nats = 2 * 0.6931471805599453 * 1000
    known = {
        "directory": Path("checkpoints") / name,
        "state": "finished",
        "model": ModelSettings(vocab_size=65, hidden_size=512),
        "level": "char",
        "texts": ("shakespeare.txt",),
        "num_texts": 1,
        "fingerprint": "f",
        "score": Score(nats=nats, nats_squared=2 * nats, num_predictions=1000, num_chars=1000, num_bytes=1000),
        "step": 3210,
        "num_steps": 3210,
        "best_step": 3000,
        "seconds": 3600.0,
        "changed": time.time() - 7300,
        "settings": {"cell": "lstm", "hidden_size": 512, "texts": ["/home/shakespeare.txt"], "seed": 0, "bias": True},
    }
    return RunSummary(name=name, **{**known, **more})


EMPTY = RunSummary(name="odd", directory=Path("odd"), state="damaged", problem="its file is cut short")


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard output a terminal of some columns."""

    def prepare(columns):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("NO_COLOR", "1")

    return prepare


def test_a_run_is_a_line_of_what_a_person_asks_first(capsys):
    write_runs([summary(), EMPTY])
    heading, first, second = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert heading == ["name", "model", "text", "held-out_bits/char", "steps", "time", "age", "state"]
    assert first == ["play", "LSTM", "1x512", "shakespeare.txt", "2.0000", "3,210", "1:00:00", "2", "h", "finished"]
    assert second[:6] == ["odd", "-", "-", "-", "-", "-"]
    assert second[-1] == "damaged"


def test_a_score_says_its_unit_where_runs_have_different_ones(capsys):
    write_runs([summary(), summary("bytes", level="byte")])
    heading, *rows = capsys.readouterr().out.splitlines()
    assert "held-out_bits " in heading
    assert ["2.0000/char" in rows[0], "2.0000/byte" in rows[1]] == [True, True]


def test_a_run_on_its_way_says_how_far_it_has_come(capsys):
    write_runs([summary(step=10, state="stopped"), summary(step=10), summary(step=10, num_steps=None, state="running")])
    steps = [line.split()[5] for line in capsys.readouterr().out.splitlines()[1:]]
    assert steps == ["10/3,210", "10", "10"]  # patience may end a run before its plan does


def test_several_texts_are_told_by_the_first_and_their_number(capsys):
    write_runs([summary(texts=("a.txt", "b.txt"), num_texts=1234)])
    assert "a.txt +1,233 " in capsys.readouterr().out


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("name", ["play", "a-name-of-thirty-two-characters-"])
def test_the_runs_fit_the_terminal(capsys, terminal, columns, name):
    terminal(columns)
    write_runs([summary(name), EMPTY])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert all(len(line) <= columns for line in lines)
    (first,) = [line for line in lines if name in line]
    rest = lines[lines.index(first) + 1] if columns == 60 or (name != "play" and columns == 80) else ""
    assert rest == "" or rest.startswith("  LSTM 1x512, 3,210 steps in 1:00:00, 2 h ago, shak")
    for known in ("2.0000", "3,210", "1:00:00", "2 h", "LSTM 1x512", "finished"):
        assert known in first + rest


def test_a_name_wider_than_the_terminal_is_shown_whole(capsys, terminal):
    terminal(40)
    write_runs([summary("x" * 90)])
    assert "x" * 90 in capsys.readouterr().out


def test_runs_side_by_side_begin_with_their_scores_and_show_what_differs(capsys):
    runs = [summary(), summary("again", settings={**summary().settings, "hidden_size": 256, "steps": 5})]
    write_comparison(runs)
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    table = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    assert table[""] == ["play", "again"]
    assert list(table)[1:3] == ["state", "held-out bits"]
    assert table["held-out bits"] == ["2.0000/char"] * 2
    assert table["trained"] == ["3,210 steps in 1:00:00"] * 2
    assert table["perplexity"] == ["4.000"] * 2
    assert list(table)[-2:] == ["hidden_size", "steps"]
    assert (table["hidden_size"], table["steps"]) == (["512", "256"], ["-", "5"])
    assert comparison(runs) == {"hidden_size": [512, 256], "steps": [None, 5]}
    assert list(comparison_notes(runs)) == ["3 other settings are the same; charrnn runs play shows them"]


def test_one_run_shows_all_its_settings_but_the_paths_of_its_texts(capsys):
    write_comparison([summary()])
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()][-4:] == [
        ["cell", "lstm"],
        ["hidden_size", "512"],
        ["bias", "on"],
        ["seed", "0"],
    ]
    assert "/home" not in out
    assert list(comparison_notes([summary()])) == []


def test_scores_of_different_texts_are_said_not_to_compare():
    runs = [summary(settings={}), summary("other", fingerprint="g", settings={})]
    assert list(comparison_notes(runs)) == [
        "their held-out texts differ, or are read differently: the scores cannot be compared"
    ]
    assert list(comparison_notes([runs[0], summary(num_held_out=1, settings={})])) != []
    assert list(comparison_notes([runs[0], summary(fingerprint="g", score=None, settings={})])) == []


def test_what_is_damaged_is_told_for_each_run():
    assert list(problem_notes([summary(), EMPTY])) == ["odd: its file is cut short"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "now"), (59, "now"), (60, "1 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d"), (1e8, "1,157 d")],
)
def test_an_age_is_one_number_and_its_unit(seconds, shown):
    assert age(seconds) == shown
