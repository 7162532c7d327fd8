"""Which report suits where a run is watched, and the run's events handed to it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from charrnn.reports.live import Live, is_large_enough
from charrnn.reports.progress import Bar, Lines, Report, Silence, is_notebook
from charrnn.training import event


@contextmanager
def report_to(stream: TextIO, *, quiet: bool, samples: bool, level: str, verbose: bool = False) -> Iterator[Report]:
    """The report that suits: a chart and a bar on a terminal, in a notebook or a small terminal a bar, lines elsewhere.

    Only warnings are shown when ``quiet``.
    """
    report: Report
    if quiet:
        report = Silence()
    elif not stream.isatty() and not is_notebook():
        report = Lines(verbose=verbose)
    elif is_notebook() or not is_large_enough(stream):
        report = Bar(samples=samples, level=level, verbose=verbose)
    else:
        report = Live(stream, samples=samples, level=level, verbose=verbose)
    try:
        yield report
    finally:
        report.close()


def follow(events: Iterable[event.Event], *watchers: Callable[[event.Event], object]) -> event.Finished:
    """Hands each event of a run to all who watch, in order; gives the last one.

    Args:
        events: of ``Run.events``.
        watchers: called with each event.
    """
    finished: event.Finished | None = None
    for happened in events:
        for watch in watchers:
            watch(happened)
        if isinstance(happened, event.Finished):
            finished = happened
    if finished is None:
        raise RuntimeError("the run yielded no end")
    return finished
