"""The live view of a run: a chart, a sample and a bar on the last lines of a terminal, and the rest above them."""

import io
import math
import os
import pty
import re
import sys
import termios
from pathlib import Path

import pytest
from run_events import EVENTS, MODEL, SCORE

from charrnn.reports.live import Live, is_large_enough
from charrnn.reports.progress import Bar, Silence
from charrnn.reports.terminal import BELOW, say
from charrnn.reports.watching import report_to
from charrnn.training import event

PLANNED = EVENTS[0]


class Tty(io.TextIOWrapper):
    """A terminal of its own, and what was written to it."""

    def __init__(self, lines=24, columns=80, encoding="utf-8"):
        self.ours, theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        super().__init__(os.fdopen(theirs, "wb", buffering=0), encoding=encoding, write_through=True)
        self.resize(lines, columns)
        self._received = b""

    def resize(self, lines, columns):
        termios.tcsetwinsize(self.fileno(), (lines, columns))

    @property
    def received(self):
        while True:
            try:
                self._received += os.read(self.ours, 65_536)
            except BlockingIOError:
                return self._received.decode().replace("\r\n", "\n")


@pytest.fixture
def tty(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("COLUMNS", raising=False)
    made = Tty()
    yield made
    BELOW.clear()
    made.close()
    os.close(made.ours)


@pytest.fixture
def begin(monkeypatch):
    """A live view on a terminal, which is standard error from now on."""

    def begun(tty, **how):
        monkeypatch.setattr(sys, "stderr", tty)
        return Live(tty, **{"samples": True, "level": "char", **how})

    return begun


@pytest.fixture(scope="module")
def screen():
    """What a terminal of 80 columns shows of what was written to it: its lines."""
    sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
    try:
        import terminal_picture
    finally:
        sys.path.pop()
    return lambda written: [line.plain for line in terminal_picture.screen(written.replace("\n", "\r\n"))]


def progressed(step, nats=2.0, *, left=5.0):
    return event.Progressed(step, 10, nats, 0.01, 1.0, 1234.0, float(step), left)


def evaluated(step, nats=0.71):
    return event.Evaluated(step, SCORE, nats, float(step), True, MODEL, num_held_out=101)


def followed(report, monkeypatch, *events):
    """Shows the events as if each came a minute after the one before."""
    clock = iter(range(0, 10**9, 60))
    monkeypatch.setattr("charrnn.reports.live.time.monotonic", lambda: next(clock))
    for happened in events:
        report.show(happened)


def test_the_last_lines_show_chart_sample_and_bar_and_the_rest_stays_above(begin, tty, screen, monkeypatch):
    live = begin(tty)
    assert screen(tty.received) == ["measuring the speed of this machine ..."]
    events = [progressed(1, 3.0), PLANNED, progressed(2, 2.5), evaluated(5), event.Sampled(5, "so it\n\nsaid", 5.0)]
    followed(live, monkeypatch, *events, progressed(6, 2.0, left=4.0))
    lines = screen(tty.received)
    plan, first = lines[:2]
    assert plan.startswith("plan: 10 steps")
    assert first.startswith("step      5  train 0.7100  held-out 0.6931")
    assert lines[2].startswith("nats/char")
    assert "o" in "".join(lines[3:-7])  # a held-out loss
    assert lines[-5:-1] == ["step 5 writes:", "  so it", "  said", ""]
    assert re.fullmatch(r" 60%\|[^|]+\| loss 2.000, held-out 0.693 nats/char  1k/s  0:04 left", lines[-1])
    assert len(lines) == 2 + 12 + 4 + 1
    live.close()
    assert screen(tty.received) == [plan, first]


def test_nothing_jumps_between_two_evaluations(begin, tty, screen, monkeypatch):
    live = begin(tty)
    followed(live, monkeypatch, PLANNED, progressed(1))
    heights, words = set(), set()
    for step in range(2, 9):
        live.show(progressed(step, 3 / step, left=8.0 - step))
        heights.add(len(screen(tty.received)))
        words.add(screen(tty.received)[-6])
    assert len(heights) == len(words) == 1
    assert words.pop().split()[-1] == "0:08"  # where the run will end
    live.close()


def test_what_others_say_stays_and_the_chart_comes_back_below(begin, tty, screen, monkeypatch):
    live = begin(tty)
    followed(live, monkeypatch, PLANNED, progressed(1))
    say("the disk is nearly full")
    assert screen(tty.received) == ["plan: 10 steps (2.0 ms each), held-out loss every 5", "the disk is nearly full"]
    live.show(progressed(2))
    lines = screen(tty.received)
    assert lines[1] == "the disk is nearly full"
    assert lines[2].startswith("nats/char")
    live.show(event.Warned("a\x1b[2J wrong"))
    assert screen(tty.received)[2] == "warning: a\\x1b[2J wrong"
    live.close()
    assert len(screen(tty.received)) == 3


def test_between_charts_the_bar_alone_is_written(begin, tty, monkeypatch):
    live = begin(tty, samples=False)
    followed(live, monkeypatch, PLANNED, progressed(1))
    before = len(tty.received)
    moments = iter([7e9, 7e9 + 0.2, 7e9 + 0.21])  # a chart, a bar, too soon for either
    monkeypatch.setattr("charrnn.reports.live.time.monotonic", lambda: next(moments, 7e9 + 0.22))
    live._chart_at = live._bar_at = 7e9
    for step in (2, 3):
        live.show(progressed(step))
    written = tty.received[before:]
    assert "\x1b[J" not in written
    assert len(written) < 400
    live.close()


@pytest.mark.parametrize(("lines", "columns"), [(24, 59), (19, 80), (5, 20)])
def test_a_terminal_that_becomes_too_small_shows_the_bar_alone(begin, tty, monkeypatch, lines, columns):
    live = begin(tty)
    followed(live, monkeypatch, PLANNED, progressed(1))
    tty.resize(lines, columns)
    before = len(tty.received)
    live.show(progressed(2))
    drawn = tty.received[before:]
    assert "nats/char   " not in drawn
    assert drawn.count("\n") == 0
    assert "20%|" in drawn
    tty.resize(24, 80)
    live.show(progressed(3))
    assert "training" in tty.received[before:]
    live.close()


def test_lines_never_reach_beyond_the_terminal(begin, tty, screen, monkeypatch):
    for lines, columns in ((24, 80), (40, 70), (20, 60)):
        tty.resize(lines, columns)
        live = begin(tty, level="byte", verbose=True)
        before = len(tty.received)
        wide = event.Sampled(5, "\u5b57" * 200 + "\x1b[31m\t\u202e", 5.0)
        followed(live, monkeypatch, PLANNED, progressed(1, 1e5), evaluated(5), wide, progressed(1_234_567))
        drawn = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", tty.received[before:])
        for line in re.split(r"[\n\r]", drawn):
            assert sum(2 if char == "\u5b57" else 1 for char in line) <= columns
        assert "\u202e" not in drawn
        live.close()


def test_the_cursor_is_never_hidden_and_colours_follow_no_color(begin, tty, monkeypatch):
    for wanted in (True, False):
        monkeypatch.setenv("NO_COLOR", "" if wanted else "1")
        before = len(tty.received)
        live = begin(tty)
        followed(live, monkeypatch, PLANNED, progressed(1), evaluated(5), EVENTS[3], progressed(6))
        live.close()
        drawn = tty.received[before:]
        assert bool(re.search(r"\x1b\[[0-9;]*m", drawn)) == wanted
        assert "\x1b[?" not in drawn


def test_a_loss_that_is_no_number_and_a_run_without_plan_are_passed_over(begin, tty, screen, monkeypatch):
    live = begin(tty)
    followed(live, monkeypatch, progressed(1, math.nan, left=math.nan), progressed(2, 2.0, left=math.nan))
    assert screen(tty.received)[-1] == "measuring the speed of this machine ..."
    assert live._training == [(2.0, 2.0)]
    live.close()


def test_a_long_run_keeps_few_points(begin, tty, monkeypatch):
    live = begin(tty, samples=False)
    monkeypatch.setattr(live, "_redraw", lambda **_: None)
    for step in range(1, 5000):
        live.show(progressed(step, 1.0))
    assert 400 < len(live._training) <= 1024
    assert {nats for _, nats in live._training} == {1.0}
    assert [x for x, _ in live._training] == sorted(x for x, _ in live._training)
    live.close()


def test_a_terminal_has_the_view_if_it_is_large_and_able(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for how, fits in (
        ({}, True),
        ({"lines": 20, "columns": 60}, True),
        ({"lines": 19}, False),
        ({"columns": 59}, False),
        ({"encoding": "latin-1"}, False),
    ):
        with Tty(**how) as tty:
            assert is_large_enough(tty) == fits
            with report_to(tty, quiet=False, samples=True, level="char") as report:
                assert type(report) is (Live if fits else Bar)
            with report_to(tty, quiet=True, samples=True, level="char") as report:
                assert type(report) is Silence
            os.close(tty.ours)
    for term in ("dumb", ""):
        monkeypatch.setenv("TERM", term)
        with Tty() as tty:
            assert not is_large_enough(tty)
            os.close(tty.ours)
    assert not is_large_enough(io.StringIO())
