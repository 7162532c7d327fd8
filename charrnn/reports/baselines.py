"""Baselines beside a model's score: a table whose last column is a bar chart, and JSON."""

import math
import sys
from typing import Any

from charrnn.inference.baselines import Baselines, Cost
from charrnn.reports.style import num_columns
from charrnn.reports.terminal import is_terminal, write_table

_COLUMNS = 60  # of the table where it goes to no terminal
_LEAST_BAR, _MOST_BAR = 8, 50  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉"


def baselines_to_json(baselines: Baselines) -> dict[str, Any]:
    """The baselines as plain JSON values; a number that is not known is null."""
    return {
        "training_text": {"names": list(baselines.names), "num_symbols": baselines.num_learned},
        "copied_share": baselines.copied_share,
        "scores": [
            {"name": name, **cost._asdict(), "bits_per_char": cost.bits_per_char, "bits_per_byte": cost.bits_per_byte}
            for name, cost in baselines.costs.items()
        ],
    }


def write_baselines(baselines: Baselines) -> None:
    """Writes a row for each predictor: its bits, its seconds to learn and to score, and a bar as long as its bits."""
    unit = f"bits_per_{baselines.level}"
    figures = {name: getattr(cost, unit) for name, cost in baselines.costs.items()}
    headings = ["", unit, "learn_s", "score_s"]
    rows = [[name, f"{figures[name]:.4f}", *_seconds(cost)] for name, cost in baselines.costs.items()]
    most = max((figure for figure in figures.values() if math.isfinite(figure)), default=0.0)
    width = _bar_width(headings, rows)
    for row, figure in zip(rows, figures.values(), strict=True):
        row.append(_bar(figure / most if most else 0.0, width))
    write_table([*headings, ""], rows, align="lrrrl")


def _seconds(cost: Cost) -> list[str]:
    return ["-" if seconds is None else f"{seconds:.1f}" for seconds in (cost.learning_seconds, cost.scoring_seconds)]


def _bar_width(headings: list[str], rows: list[list[str]]) -> int:
    """Characters that are left for the bars."""
    columns = num_columns(sys.stdout) if is_terminal() else _COLUMNS
    taken = 2  # a terminal's table is set in by one character on each side
    for heading, cells in zip(headings, zip(*rows, strict=True), strict=True):
        parts = heading.split("_") if is_terminal() else [heading]
        taken += max(map(len, (*parts, *cells))) + 2
    return min(max(columns - taken, _LEAST_BAR), _MOST_BAR)


def _bar(share: float, width: int) -> str:
    """A bar of ``share`` of the width: blocks of eighths on a terminal, number signs elsewhere."""
    if not math.isfinite(share):
        return ""
    if not is_terminal():
        return "#" * round(share * width)
    whole, rest = divmod(round(8 * share * width), 8)
    return "█" * whole + _EIGHTHS[rest].strip()
