"""The losses of runs as a chart on a terminal, with the figures that matter most below it."""

import shutil
import sys
from collections.abc import Sequence

from charrnn.reports.chart import Curve, chart
from charrnn.reports.progress import clock
from charrnn.reports.runs import comparison_notes, known_facts, problem_notes, write_comparison
from charrnn.reports.style import shows_colour
from charrnn.reports.terminal import inert, is_terminal, say, write_facts, write_result
from charrnn.storage.run_history import history_of
from charrnn.storage.run_summary import RunSummary

_WIDTHS = (40, 120)
_HEIGHTS = (8, 24)
_BELOW = 16  # lines of a screen that are left for what stands below the chart
_MARKS = "ox+*#@%&"
_STYLES = ("cyan", "yellow", "magenta", "green", "red", "blue")


def write_curves(runs: Sequence[RunSummary]) -> None:
    """Writes the chart and the comparison of runs to standard output.

    Args:
        runs: one or more; those without a history are left out of the chart.

    Raises:
        InputError: the history of one cannot be read.
    """
    curves = _curves(runs)
    if any(curve.points for curve in curves):
        size = shutil.get_terminal_size()
        levels = {run.level for run in runs if run.level}
        lines = chart(
            curves,
            width=min(max(size.columns - 1, _WIDTHS[0]), _WIDTHS[1]),
            height=min(max(size.lines - _BELOW, _HEIGHTS[0]), _HEIGHTS[1]),
            y_word=f"nats/{levels.pop() if len(levels) == 1 else 'symbol'}",
            x_label=clock,
        )
        write_result("".join(f"{line}\n" for line in (*rendered(lines, colour=shows_colour(sys.stdout)), "")), raw=True)
        for curve in curves:
            mark = curve.mark or "dots"
            write_result(f"  {mark}  {inert(curve.name)}{'' if curve.points else ': no history'}\n", raw=True)
        write_result("\n")
    if len(runs) == 1:
        write_facts([(name, values[0]) for name, values in known_facts(runs).items()])
    else:
        write_comparison(runs)
    for note in (*problem_notes(runs), *comparison_notes(runs)):
        say(f"note: {note}")
    if is_terminal():
        say("note: --out report.html makes a page with all curves, samples and settings")


def rendered(lines: Sequence[object], *, colour: bool) -> list[str]:
    """Lines of rich as text with, or without, its codes for colours."""
    import io

    from rich.console import Console

    made = []
    for line in lines:
        stream = io.StringIO()
        system = "standard" if colour else None
        Console(file=stream, force_terminal=True, color_system=system, width=1000, highlight=False).print(  # type: ignore[arg-type]
            line, end="", soft_wrap=True
        )
        made.append(stream.getvalue().rstrip())
    return made


def _curves(runs: Sequence[RunSummary]) -> list[Curve]:
    histories = [history_of(run) for run in runs]
    if len(runs) == 1:
        [history] = histories
        training = [(each.seconds, each.nats) for each in history.updates if each.nats is not None]
        if not training:
            training = [(e.seconds, e.train_nats) for e in history.evaluations if e.train_nats is not None]
        held_out = [(each.seconds, each.nats) for each in history.evaluations]
        return [
            Curve("training loss", training, style="yellow"),
            Curve("held-out loss", held_out, mark="o", style="bold cyan"),
        ]
    return [
        Curve(
            f"{run.name}, held-out loss",
            [(each.seconds, each.nats) for each in history.evaluations],
            mark=_MARKS[number % len(_MARKS)],
            style=_STYLES[number % len(_STYLES)],
        )
        for number, (run, history) in enumerate(zip(runs, histories, strict=True))
    ]
