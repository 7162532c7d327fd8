"""A run in training on a terminal: the curve of its losses as they fall, what it wrote last, and its bar.

step    188  train 1.9024  held-out 1.7731 nats/char  2.5580 bits/char *     <- lines, which stay and scroll away
nats/char                                                                    <- from here on drawn again and again
4 ┤⠈⣆
  │ ⠘⣆⡀
2 ┤  ⠈⠉⠒o⠤⠤o⣀⣀o
  └┬──────────────────────────┬───────────────────────────┬
   0:00                     0:30                       1:00
step 188 writes:
  What say you to the ...
 42%|██████████▌              | loss 1.803, held-out 1.773 nats/char  85k/s  0:35 left
"""

import math
import os
import textwrap
import time
from contextlib import suppress
from typing import TextIO

from charrnn.reports.chart import LEAST_HEIGHT, Curve, Point, chart
from charrnn.reports.progress import BAR_FORMAT, MEASURING, OnTerminal, clock, plan_line, update_line
from charrnn.reports.style import can_move_cursor, message_on_terminal
from charrnn.reports.terminal import BELOW, inert
from charrnn.training import event

LEAST_COLUMNS, LEAST_LINES = 60, 20
_MOST_COLUMNS = 110
_MOST_CHART = 18  # lines
_LABEL_WIDTH = 4  # of losses, mostly
_AROUND_CHART = 3  # lines: what y is, and the x axis
_SAMPLE_LINES = 3
_SECONDS_BETWEEN_CHARTS = 1.0
_SECONDS_BETWEEN_BARS = 0.1
_MOST_POINTS = 1024
_END_MOVES = 0.1  # share of the run's time by which the end of the x axis may be wrong


def is_large_enough(stream: TextIO) -> bool:
    """Whether a chart has room on the terminal behind ``stream``, and can be drawn there again and again."""
    size = _size(stream)
    return size.columns >= LEAST_COLUMNS and size.lines >= LEAST_LINES and can_move_cursor(stream)


class Live(OnTerminal):
    """The last lines of a terminal show the run; where it becomes too small, the bar alone.

    Args:
        stream: the terminal.
        samples: show what the model wrote last.
        level: what a symbol is, "char" or "byte".
        verbose: tell learning rate and gradient too, and each plan, not the first alone.
    """

    def __init__(self, stream: TextIO, *, samples: bool, level: str, verbose: bool = False) -> None:
        super().__init__(level=level, verbose=verbose)
        self._stream = stream
        self._samples = samples
        self._num_steps: int | None = None
        self._training: list[Point] = []
        self._evaluated_points: list[Point] = []
        self._sample: event.Sampled | None = None
        self._end = 0.0  # of the x axis
        self._chart_at = self._bar_at = -math.inf
        self._redraw()

    def show(self, happened: event.Event) -> None:
        """Draws the chart, moves the bar, or writes a line above them."""
        match happened:
            case event.Planned():
                if self._num_steps is None or self._verbose:  # later ones show in the time left
                    self._redraw(above=plan_line(happened))
                self._num_steps = happened.num_steps
            case event.Progressed():
                self._follow(happened)
            case event.Evaluated():
                self._held_out = happened.score.nats_per_symbol
                self._evaluated_points.append((happened.seconds, self._held_out))
                lines = [self._evaluated(happened)]
                if self._verbose and self._progress is not None:
                    lines.append(f"             {update_line(self._progress)}")
                self._redraw(above="\n".join(lines))
            case event.Sampled():
                self._sample = happened
                self._redraw()
            case event.Warned():
                message = f"warning: {inert(happened.message)}"
                self._redraw(above=message_on_terminal(message, self._width, colour=self._colour))

    def close(self) -> None:
        """Leaves the lines above, and takes the rest away."""
        BELOW.clear()

    def _follow(self, progress: event.Progressed) -> None:
        self._progress = progress
        if math.isfinite(progress.nats):
            self._training.append((progress.seconds, progress.nats))
        if len(self._training) > _MOST_POINTS:
            self._training = [_middle(*pair) for pair in zip(self._training[::2], self._training[1::2], strict=False)]
        end = progress.seconds if math.isnan(progress.seconds_left) else progress.seconds + progress.seconds_left
        if progress.seconds > self._end or abs(end - self._end) > _END_MOVES * end:
            self._end = end  # not at each of its small changes: a chart that breathes is hard to read
        now = time.monotonic()
        if now - self._chart_at >= _SECONDS_BETWEEN_CHARTS:
            self._redraw()
        elif now - self._bar_at >= _SECONDS_BETWEEN_BARS:
            self._bar_at = now
            BELOW.draw_last(*self._bar())

    def _redraw(self, *, above: str = "") -> None:
        """All of it, with lines that stay above."""
        self._chart_at = self._bar_at = time.monotonic()
        size = _size(self._stream)
        lines: list[tuple[str, int]] = []
        if self._training and size.columns >= LEAST_COLUMNS and size.lines >= LEAST_LINES:
            lines += self._chart(size)
            lines += self._last_sample(size) if self._samples else []
        lines.append(self._bar())
        texts, widths = zip(*lines, strict=True)
        BELOW.draw(self._stream, texts, widths, above=f"{above}\n" if above else "")

    def _chart(self, size: os.terminal_size) -> list[tuple[str, int]]:
        from charrnn.reports.curves import rendered

        height = max(LEAST_HEIGHT, min(size.lines // 2, _MOST_CHART) - _AROUND_CHART + 1)
        lines = chart(
            [
                Curve("training", self._training, style="yellow"),
                Curve("held-out", self._evaluated_points, mark="o", style="bold cyan"),
            ],
            width=min(size.columns - 1, _MOST_COLUMNS),
            height=height,
            y_word=f"nats/{self._level}",
            x_label=clock,
            x_end=self._end,
            label_width=_LABEL_WIDTH,
        )
        lines[0].append("   ")
        lines[0].append("⠒⠒", style="yellow")
        lines[0].append(" training   ")
        lines[0].append("o", style="bold cyan")
        lines[0].append(" held-out")
        texts = rendered(lines, colour=self._colour)
        return [(text, line.cell_len) for text, line in zip(texts, lines, strict=True)]

    def _last_sample(self, size: os.terminal_size) -> list[tuple[str, int]]:
        """As many lines from the first on, so that nothing jumps."""
        if self._sample is None:
            return [("", 0)] * (1 + _SAMPLE_LINES)
        from rich.cells import cell_len, chop_cells

        width = size.columns - len("  ") - 1
        lines = [line for line in inert(self._sample.text).expandtabs(8).splitlines() if line.strip()]
        pieces = [
            piece
            for line in lines
            for piece in (textwrap.wrap(line, width) if line.isascii() else chop_cells(line, width))
        ][:_SAMPLE_LINES]
        head = f"step {self._sample.step:,} writes:"
        shown = [(self._painted(head, "weak"), len(head)), *((f"  {piece}", 2 + cell_len(piece)) for piece in pieces)]
        return shown + [("", 0)] * (1 + _SAMPLE_LINES - len(shown))

    def _bar(self) -> tuple[str, int]:
        from tqdm import tqdm

        if self._progress is None or self._num_steps is None:
            return MEASURING[: self._room], min(len(MEASURING), self._room)
        line = tqdm.format_meter(
            n=self._progress.step,
            total=self._num_steps,
            elapsed=self._progress.seconds,
            ncols=self._room,
            prefix=self._described(self._progress),
            bar_format=BAR_FORMAT,
            colour="cyan" if self._colour else None,
        )
        return line, self._room


def _size(stream: TextIO) -> os.terminal_size:
    """As it is now; nothing where the stream has none."""
    with suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(stream.fileno())
    return os.terminal_size((0, 0))


def _middle(first: Point, second: Point) -> Point:
    return (first[0] + second[0]) / 2, (first[1] + second[1]) / 2
