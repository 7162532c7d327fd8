"""The chart of gradients on their way back, as SVG: shares on a scale of powers of ten against steps."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 190, 30, 46
_LEAST_DECADE = -14
_LABEL_HEIGHT = 16


class Line(NamedTuple):
    """One sort of state of one layer of one model.

    Attributes:
        name: whole.
        label: a short one, beside the line.
        colour: which of the colours of series, from 0.
        is_dashed: to tell two lines of one colour apart.
        quartiles: shares of what there was at k = 0: lower quartile, median, upper quartile, (K + 1,) each.
    """

    name: str
    label: str
    colour: int
    is_dashed: bool
    quartiles: tuple[list[float], ...]


def flow_chart(lines: Sequence[Line]) -> "Markup":
    """The chart; its colours are those of base.css.

    Args:
        lines: one or more.
    """
    from markupsafe import Markup, escape

    reach = max(len(line.quartiles[1]) for line in lines) - 1
    every = [value for line in lines for value in line.quartiles[1] if value > 0]
    low = max(math.floor(math.log10(min(every, default=1.0))), _LEAST_DECADE)
    low = min(low, -1)
    high = max(math.ceil(math.log10(max(every, default=1.0))), 0)

    def x(k: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * k / max(reach, 1)

    def y(share: float) -> float:
        decade = min(max(math.log10(share) if share > 0 else low, low), high)
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - decade) / (high - low)

    def path(values: Sequence[float]) -> str:
        return " ".join(f"{x(k):.1f},{y(value):.1f}" for k, value in enumerate(values))

    parts = [f'<svg class="flow" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="flow-title">']
    parts.append('<title id="flow-title">Share of the gradient that is left, against steps back; figures below</title>')
    parts.append('<text x="4" y="14">share of the gradient that is left</text>')
    step = max(1, math.ceil((high - low) / 8))
    for decade in range(high, low - 1, -step):
        at = y(10.0**decade)
        label = "1" if decade == 0 else f'10<tspan dy="-5" font-size="10">{decade}</tspan>'
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    for k in _ticks(reach):
        parts.append(f'<text x="{x(k):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{k}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">steps back, k</text>')
    for line in lines:
        colour = f"var(--series-{line.colour % 7 + 1})"
        lower, median, upper = line.quartiles
        band = path(upper) + " " + " ".join(reversed(path(lower).split()))
        dashes = ' stroke-dasharray="6 4"' if line.is_dashed else ""
        parts.append(f'<polygon points="{band}" fill="{colour}" opacity="0.12"/>')
        parts.append(
            f'<polyline points="{path(median)}" fill="none" stroke="{colour}" stroke-width="2.2"{dashes}>'
            f"<title>{escape(line.name)}</title></polyline>"
        )
    wanted = [(y(line.quartiles[1][-1]) + 4, line) for line in lines]
    for at, line in _apart(wanted):
        colour = f"var(--series-{line.colour % 7 + 1})"
        end = x(len(line.quartiles[1]) - 1)
        parts.append(f'<text x="{end + 8:.1f}" y="{at:.1f}" style="fill:{colour}">{escape(line.label)}</text>')
    parts.append("</svg>")
    return Markup("\n".join(parts))  # noqa: S704 - made here; what is not ours is escaped above


def _ticks(reach: int) -> list[int]:
    step = next((each for each in (1, 2, 5, 10, 20, 50, 100, 200) if reach <= 6 * each), 500)
    return list(range(0, reach + 1, step))


def _apart(labels: Sequence[tuple[float, Line]]) -> list[tuple[float, Line]]:
    """Labels moved so that none covers another, none below the chart."""
    found: list[tuple[float, Line]] = []
    for at, line in sorted(labels, key=lambda each: each[0]):
        found.append((max(at, found[-1][0] + _LABEL_HEIGHT) if found else at, line))
    lowest = _HEIGHT - _BOTTOM + 4.0
    for number in range(len(found) - 1, -1, -1):
        at, line = found[number]
        found[number] = (min(at, lowest), line)
        lowest = found[number][0] - _LABEL_HEIGHT
    return found
