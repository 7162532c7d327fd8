"""``charrnn report``: how a run went, as a page, as pictures, or as a chart on a terminal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.run_argument import run_names
from charrnn.errors import InputError, SettingsError

if TYPE_CHECKING:
    from charrnn.storage.run_summary import RunSummary


def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs, by name or directory; several are drawn over each other.",
            show_default=False,
            autocompletion=run_names,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="<file>", help="Write the page to this file.", show_default=False),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="<directory>", help="Write each figure there as SVG and PNG.", show_default=False),
    ] = None,
) -> None:
    """Show how runs went: losses, gradients, speed, samples, settings, scores.

    With --out it is a page to look at in a browser: one file that needs no network. Without --out and --figures the
    losses are drawn here, as text. Pages and figures need an extra: pip install 'charrnn[report]'.

    \b
    Examples:
      charrnn report shakespeare
      charrnn report shakespeare -o report.html
      charrnn report shakespeare again -o report.html
      charrnn report shakespeare --figures figures
    """
    from charrnn.reports.terminal import say, write_result
    from charrnn.storage.run_name import choice_of_runs

    if not names:
        raise SettingsError(f"name a run; {choice_of_runs()}")
    runs = [_summary(name) for name in names]
    if out is None and figures is None:
        from charrnn.reports.curves import write_curves

        write_curves(runs)
        return
    from charrnn.pages.report import write_figures, write_report

    if out is not None:
        size = write_report(out, runs)
        write_result(f"{out}\n")
        say(f"note: {size / 1e6:.1f} MB; open it in a browser")
    if figures is not None:
        write_result("".join(f"{path}\n" for path in write_figures(figures, runs)))


def _summary(name: str) -> "RunSummary":
    from charrnn.storage.run_name import choice_of_runs, find_run, holds_run
    from charrnn.storage.run_summary import summarized

    path = find_run(name)
    if not holds_run(path):
        raise InputError(f"{str(path)!r} is not a run's directory; {choice_of_runs()}")
    return summarized(path)
