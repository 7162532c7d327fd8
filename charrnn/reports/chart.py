"""A chart of characters: lines drawn in dots of braille, or marks, within axes with round numbers.

>>> curve = Curve("loss", [(0.0, 2.0), (5.0, 1.5), (10.0, 1.0)], mark="*")
>>> for line in chart([curve], width=24, height=5, y_word="nats"):
...     print(line.plain)
nats
2 ┤*
  │
  │          *
1 ┤                    *
  └┬───────────────────┬
   0                  10
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.text import Text

Point = tuple[float, float]
LEAST_WIDTH, LEAST_HEIGHT = 20, 5
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character: rows, then columns
_BRAILLE = 0x2800
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_ROWS_PER_TICK = 3
_COLUMNS_PER_TICK = 14
# Of the x axis: what lies above the rest in this first part may be cut off, or the rest would lie flat on the ground.
_BEGINNING = 0.05
_ENOUGH = 20  # points after it


class Curve(NamedTuple):
    """What is drawn as one line.

    Attributes:
        name: of the curve.
        points: (x, y), by x; all finite.
        mark: a character that stands at each point; "" joins the points by a line of dots.
        style: of rich; "" for none.
    """

    name: str
    points: Sequence[Point]
    mark: str = ""
    style: str = ""


def chart(
    curves: Sequence[Curve],
    *,
    width: int,
    height: int,
    y_word: str,
    x_label: Callable[[float], str] = lambda x: f"{x:g}",
    x_end: float = 0.0,
    label_width: int = 0,
) -> list["Text"]:
    """The lines of a chart, each at most ``width`` characters; curves that come later lie above those before.

    Args:
        curves: one at least has a point.
        width: characters, ``LEAST_WIDTH`` or more.
        height: lines between the first, which says what y is, and the two of the x axis; ``LEAST_HEIGHT`` less 1 or
            more.
        y_word: what y is.
        x_label: how a number of the x axis is written.
        x_end: where the x axis ends, if no point lies further.
        label_width: characters that the numbers of the y axis have at least, so that it stays where it is.
    """
    from rich.text import Text

    right = max([x_end, *(x for curve in curves for x, _ in curve.points)]) or 1.0
    low, high = _range(curves, right)
    rows = height - 1
    ticks = _y_ticks(low, high, rows)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    digits = _digits(ticks)
    labels = {round((high - tick) / (high - low) * (rows - 1)): f"{tick:.{digits}f}" for tick in ticks}
    left = max(label_width, *map(len, labels.values())) + 1
    columns = width - left - 1
    cells: list[list[tuple[str, str]]] = [[(" ", "")] * columns for _ in range(rows)]
    for curve in curves:
        places = [(x / right, (high - y) / (high - low)) for x, y in curve.points]
        drawn = _marks(places, curve.mark, columns, rows) if curve.mark else _dots(places, columns, rows)
        for column, row, char in drawn:
            cells[row][column] = (char, curve.style)
    lines = [Text(y_word)]
    for row, line in enumerate(cells):
        tick = labels.get(row, "")
        lines.append(Text.assemble(f"{tick:>{left - 1}} ", "┤" if tick else "│", *line))
        lines[-1].rstrip()
    return lines + [Text(line) for line in _x_axis(right, left, columns, x_label)]


def _range(curves: Sequence[Curve], right: float) -> tuple[float, float]:
    """Least and greatest y that is shown."""
    everything = [y for curve in curves for _, y in curve.points]
    later = [y for curve in curves for x, y in curve.points if x >= _BEGINNING * right]
    if len(later) < _ENOUGH:
        later = everything
    low, high = min(everything), max(later)
    if high - low < 1e-9 * max(1.0, abs(high)):
        return low - 0.5, high + 0.5
    return low, high


def _y_ticks(low: float, high: float, rows: int) -> list[float]:
    """Round numbers, the first at most ``low``, the last at least ``high``."""
    step = _round_step((high - low) / max(1, rows // _ROWS_PER_TICK))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))


def _digits(ticks: Sequence[float]) -> int:
    """Digits after the point that tell the ticks apart."""
    return next(
        (n for n in range(8) if all(abs(round(tick, n) - tick) < 1e-9 * max(1, abs(tick)) for tick in ticks)), 8
    )


def _marks(places: Sequence[Point], mark: str, columns: int, rows: int) -> Iterator[tuple[int, int, str]]:
    for x, y in places:
        if y >= -0.5 / rows:
            yield round(x * (columns - 1)), round(y * (rows - 1)), mark


def _dots(places: Sequence[Point], columns: int, rows: int) -> Iterator[tuple[int, int, str]]:
    """The line through the places: (column, row, character of braille)."""
    wide, high = 2 * columns - 1, 4 * rows - 1
    bits: dict[tuple[int, int], int] = {}
    scaled = [(x * wide, y * high) for x, y in places]
    for (x0, y0), (x1, y1) in zip(scaled, scaled[1:] or scaled, strict=False):
        count = max(1, math.ceil(max(abs(x1 - x0), abs(y1 - y0))))
        for number in range(count + 1):
            x, y = round(x0 + (x1 - x0) * number / count), round(y0 + (y1 - y0) * number / count)
            if 0 <= y <= high:
                where = x // 2, y // 4
                bits[where] = bits.get(where, 0) | _DOTS[y % 4][x % 2]
    for (column, row), pattern in bits.items():
        yield column, row, chr(_BRAILLE + pattern)


def _x_axis(right: float, left: int, columns: int, x_label: Callable[[float], str]) -> tuple[str, str]:
    """The axis with its ticks, and the words below these; the first and the last lie at its ends."""
    count = max(2, columns // _COLUMNS_PER_TICK + 1)
    axis, words = ["─"] * columns, [" "] * (left + 1 + columns)
    for number in range(count):
        column = round(number / (count - 1) * (columns - 1))
        axis[column] = "┬"
        word = x_label(right * number / (count - 1))
        begin = left + 1 + column - (0 if number == 0 else len(word) - 1 if number == count - 1 else len(word) // 2)
        words[begin : begin + len(word)] = word
    return " " * left + "└" + "".join(axis), "".join(words).rstrip()
