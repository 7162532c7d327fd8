"""Baselines as a table and a chart: the same numbers, bars as long as their bits, lines that fit."""

import json
import math
import re
import sys

import pytest

from charrnn.inference.baselines import Baselines, Cost
from charrnn.reports.baselines import baselines_to_json, write_baselines

LN2 = math.log(2)
COSTS = {
    "uniform": Cost(600 * LN2, 100, 200, 0.0, 0.01),
    "5-gram": Cost(250 * LN2, 100, 200, 0.26, 0.04),
    "gru-before 16x65536": Cost(150 * LN2, 100, 200, 84.67, 5.25),
    "dynamic": Cost(100 * LN2, 100, 200, None, 612.31),
}
FOUND = Baselines(COSTS, ("a.txt", "b.txt"), 90_000, 0.25)
BYTES = Baselines(COSTS, ("a.txt",), 90_000, 0.0, level="byte")


def shown(capsys, found=FOUND):
    write_baselines(found)
    return capsys.readouterr().out.splitlines()


def on_a_terminal(monkeypatch, columns):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")


def test_each_has_a_row_of_bits_and_seconds(capsys):
    heading, *rows = shown(capsys)
    assert heading.split() == ["bits_per_char", "learn_s", "score_s"]
    assert [re.split(" {2,}", row)[:4] for row in rows] == [
        ["uniform", "6.0000", "0.0", "0.0"],
        ["5-gram", "2.5000", "0.3", "0.0"],
        ["gru-before 16x65536", "1.5000", "84.7", "5.2"],
        ["dynamic", "1.0000", "-", "612.3"],
    ]


def test_bars_are_as_long_as_the_bits(capsys):
    bars = [row.split()[-1] for row in shown(capsys)[1:]]
    assert set("".join(bars)) == {"#"}
    assert [round(6 * len(bar) / len(bars[0]), 0) for bar in bars] == pytest.approx([6, 2.5, 1.5, 1], abs=0.5)


def test_of_a_model_of_bytes_the_bits_are_those_of_a_byte(capsys):
    heading, first, *_ = shown(capsys, BYTES)
    assert heading.split()[0] == "bits_per_byte"
    assert first.split()[1] == "3.0000"


@pytest.mark.parametrize("columns", [60, 80, 120, 300])
def test_a_terminal_shows_the_same_numbers_within_its_width(capsys, monkeypatch, columns):
    on_a_terminal(monkeypatch, columns)
    lines = shown(capsys)
    assert max(map(len, lines)) <= columns
    rows = {name: next(line for line in lines if line.strip().startswith(name)) for name in COSTS}
    assert "6.0000" in rows["uniform"]
    assert "612.3" in rows["dynamic"]
    lengths = {name: sum(map(row.count, "█▏▎▍▌▋▊▉")) for name, row in rows.items()}
    assert lengths["uniform"] == max(lengths.values())
    assert lengths["uniform"] >= (8 if columns == 60 else 20)
    assert lengths["5-gram"] == math.ceil(lengths["uniform"] * 2.5 / 6)


def test_lines_off_a_terminal_fit_sixty_columns(capsys):
    plain = Baselines({name[:10]: cost for name, cost in COSTS.items()}, ("a.txt",), 5, 0.0)
    assert max(map(len, shown(capsys, plain))) <= 60


def test_what_was_not_predicted_has_no_bar(capsys):
    found = Baselines({"uniform": COSTS["uniform"], "empty": Cost(0.0, 0, 0, 0.0, 0.0)}, ("a.txt",), 5, 0.0)
    assert shown(capsys, found)[2].split() == ["empty", "nan", "0.0", "0.0"]


def test_json_has_all_of_it():
    found = json.loads(json.dumps(baselines_to_json(FOUND)))
    assert found["training_text"] == {"names": ["a.txt", "b.txt"], "num_symbols": 90_000}
    assert found["copied_share"] == 0.25
    assert [score["name"] for score in found["scores"]] == list(COSTS)
    last = found["scores"][-1]
    assert (last["bits_per_char"], last["bits_per_byte"]) == (pytest.approx(1), pytest.approx(0.5))
    assert (last["num_chars"], last["num_bytes"], last["learning_seconds"], last["scoring_seconds"]) == (
        100,
        200,
        None,
        612.31,
    )
