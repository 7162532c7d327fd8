"""What a person sees of a run: off a terminal plain lines, on one a bar; always on stderr."""

import math
import sys
from dataclasses import replace

import pytest
from run_events import EVENTS, MODEL, SCORE

from charrnn.reports.progress import Lines, Silence, clock
from charrnn.reports.watching import report_to
from charrnn.text.vocab import Vocab
from charrnn.training import event


class Terminal:
    """A stream that says whether it is a terminal."""

    def __init__(self, is_terminal):
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


def shown(capsys, report):
    for happened in EVENTS:
        report.show(happened)
    report.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_lines_tell_plan_losses_speed_and_warnings_with_no_escape(capsys):
    text = shown(capsys, Lines())
    assert "plan: 10 steps (2.0 ms each), held-out loss every 5" in text
    assert "step 5/10  train 0.7100  held-out 0.6931 nats/char  1.0000 bits/char *  1,234 chars/s  0:03" in text
    assert r"warning: the disk is \x1b[2J full" in text
    assert "\x1b" not in text


def test_a_verbose_report_tells_rate_and_gradient_too(capsys):
    assert "1,234 chars/s  rate 0.01  gradient 1  0:03" in shown(capsys, Lines(verbose=True))
    assert "rate" not in shown(capsys, Lines())
    with report_to(Terminal(True), quiet=False, samples=False, level="char", verbose=True) as report:
        text = shown(capsys, report)
        report.show(replace(EVENTS[0], num_steps=77))
    assert "rate 0.01  gradient 1\n" in text
    assert "plan: 77 steps" in capsys.readouterr().err


@pytest.mark.parametrize("verbose", [False, True])
def test_lines_tell_later_plans_with_each_evaluation_or_by_themselves_if_verbose(capsys, verbose):
    lines = Lines(verbose=verbose)
    for happened in (EVENTS[0], replace(EVENTS[0], num_steps=77), EVENTS[2]):
        lines.show(happened)
    said = capsys.readouterr().err
    assert "plan: 10 steps" in said
    assert ("plan: 77 steps" in said) == verbose
    assert "step 5/77 " in said


def test_only_the_first_plan_is_told_above_a_bar(capsys):
    with report_to(Terminal(True), quiet=False, samples=False, level="char") as report:
        report.show(EVENTS[0])
        report.show(replace(EVENTS[0], num_steps=77))
    said = capsys.readouterr().err
    assert "plan: 10 steps" in said
    assert "plan: 77 steps" not in said


def test_a_bar_keeps_its_place_when_the_plan_changes(capsys):
    with report_to(Terminal(True), quiet=False, samples=False, level="char") as report:
        for happened in (EVENTS[0], EVENTS[1], replace(EVENTS[0], num_steps=20)):
            report.show(happened)
        assert capsys.readouterr().err.rpartition("\r")[2].startswith(" 25%|")  # step 5


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize("seconds_left", [9.0, 35_999.0, math.nan])
def test_a_bar_and_its_lines_fit_the_terminal(capsys, monkeypatch, columns, seconds_left):
    monkeypatch.setenv("COLUMNS", str(columns))
    progress = replace(EVENTS[1], step=1_234_567, seconds_left=seconds_left)
    evaluated = replace(EVENTS[2], step=123_456, num_held_out=1_000_000)
    sampled = event.Sampled(5, "x" * 500, 3.0)
    with report_to(Terminal(True), quiet=False, samples=True, level="byte") as report:
        for happened in (EVENTS[0], progress, evaluated, sampled, progress, event.Warned("a long word " * 20)):
            report.show(happened)
        described = report._described(progress)
    assert len(described) + len("100%|        | ^C") <= columns
    assert math.isnan(seconds_left) or described.endswith(f"{clock(seconds_left)} left")
    assert ("held-out" in described) == (columns >= 60)
    lines = [line for line in capsys.readouterr().err.replace("\r", "\n").split("\n") if "|" not in line[:6]]
    assert any(line.startswith("step 123456  train") and line.endswith("*") for line in lines)
    assert columns < 60 or all(len(line) <= columns for line in lines)


def test_a_bar_in_colour_marks_the_best(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with report_to(Terminal(True), quiet=False, samples=True, level="char") as report:
        text = shown(capsys, report)
    assert "bits/char \x1b[32m*\x1b[0m\n" in text
    assert "\x1b[2m    | a\\x1b[31m\x1b[0m" in text
    assert "\x1b[1;33mwarning:\x1b[0m the disk is \\x1b[2J full" in text


def test_silence_lets_warnings_through_alone(capsys):
    assert shown(capsys, Silence()) == "warning: the disk is \\x1b[2J full\n"


def test_a_bar_shows_losses_and_now_and_then_a_sample(capsys):
    with report_to(Terminal(True), quiet=False, samples=True, level="byte") as report:
        report.show(EVENTS[2])
        report.show(event.Sampled(5, "some\x1b text\nmore", 3.0))
        text = shown(capsys, report)
    assert "held-out 0.6931 nats" in text
    assert "loss 0.700, held-out 0.693 nats/byte" in text
    assert "    | some\\x1b text\n" in text.replace("\r", "\n")


@pytest.mark.parametrize(
    ("is_terminal", "quiet", "kind"), [(False, False, Lines), (False, True, Silence), (True, True, Silence)]
)
def test_the_report_suits_the_stream(is_terminal, quiet, kind):
    with report_to(Terminal(is_terminal), quiet=quiet, samples=False, level="char") as report:
        assert isinstance(report, kind)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3671, "1:01:11"), (-5, "0:00")])
def test_durations_read_as_clocks(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize("level", ["char", "byte"])
def test_an_evaluation_names_what_a_symbol_is(capsys, level):
    vocab = Vocab.of_text("ab") if level == "char" else Vocab.bytes()
    Lines().show(event.Evaluated(5, SCORE, 0.71, 3.0, False, replace(MODEL, vocab=vocab), 101))
    said = capsys.readouterr().err
    assert f"held-out 0.6931 nats/{level}  1.0000 bits/{level}  0:03" in said
    assert "*" not in said


@pytest.mark.parametrize(("num_held_out", "named"), [(101, "  held-out 0.6931"), (102, "  held-out sample 0.6931")])
def test_a_score_of_the_first_held_out_symbols_is_called_a_sample(capsys, num_held_out, named):
    Lines().show(event.Evaluated(5, SCORE, 0.71, 3.0, False, MODEL, num_held_out))
    assert named in capsys.readouterr().err
