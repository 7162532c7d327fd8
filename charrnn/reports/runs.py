"""Runs as a person reads them: all of them in a table, or some of them side by side."""

import shutil
import time
from collections.abc import Iterator, Sequence
from typing import Any

from charrnn.models.settings import ModelSettings
from charrnn.reports.progress import clock
from charrnn.reports.terminal import is_terminal, write_result, write_table
from charrnn.storage.run_summary import RunSummary
from charrnn.text.settings import TextSettings
from charrnn.training.settings import TrainingSettings
from charrnn.units import bits, perplexity

_TEXT = 2  # the column that gives way on a narrow terminal
_LEAST_TEXT = 8  # characters of it that are shown all the same
_MOST_TEXT = 60  # characters that are shown of it, and of any other text that a file holds
_BETWEEN = 2
# What a run was made from stands in the order in which the help lists it; the paths of texts are not compared.
_ORDER = [name for group in (TextSettings, ModelSettings, TrainingSettings) for name in group.settings()]
_NOT_COMPARED = ("texts", "vocab_size")
_NOW = "now"
_AGES = ((86_400, 2, "d"), (3600, 2, "h"), (60, 1, "min"))


def write_runs(runs: Sequence[RunSummary]) -> None:
    """Writes a line for each run; on a terminal too narrow for that, two."""
    levels = {run.level for run in runs if run.score is not None}
    unit = f"/{levels.pop()}" if len(levels) == 1 else ""
    headings = ("name", "model", "text", f"held-out_bits{unit}", "steps", "time", "age", "state")
    rows = [
        [
            run.name,
            run.model.short_title if run.model is not None else "-",
            _text(run),
            _score(run).removesuffix(unit),
            _steps(run),
            _time(run),
            _age(run),
            run.state,
        ]
        for run in runs
    ]
    if is_terminal():
        columns = shutil.get_terminal_size().columns
        widths = [max(map(len, (*heading.split("_"), *cells))) for heading, *cells in zip(headings, *rows, strict=True)]
        room = columns - (sum(widths) - widths[_TEXT] + _BETWEEN * len(widths))
        if room < min(_LEAST_TEXT, widths[_TEXT]):
            write_result("".join(_two_lines(run, columns) for run in runs))
            return
        for row in rows:
            row[_TEXT] = _cut(row[_TEXT], room)
    write_table(headings, rows, align="lllrrrrl")


def comparison(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """The settings in which runs differ, with each run's value in turn; None where it has none."""
    found = {name: [run.settings.get(name) for run in runs] for name in setting_names(runs)}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def write_comparison(runs: Sequence[RunSummary]) -> None:
    """Writes runs side by side: how good they are, how they were made, then the settings in which they differ.

    Of one run all settings are written.
    """
    names = list(comparison(runs)) if len(runs) > 1 else setting_names(runs)
    rows = [[name, *values] for name, values in known_facts(runs).items()]
    rows += [[name, *(plain_value(run.settings.get(name)) for run in runs)] for name in names]
    write_table(["", *(run.name for run in runs)], rows, align="l" * (1 + len(runs)))


def comparison_notes(runs: Sequence[RunSummary]) -> Iterator[str]:
    """What is to be known of runs side by side: what they have in common, and whether their scores can be compared."""
    if len(runs) < 2:
        return
    num_same = len(setting_names(runs)) - len(comparison(runs))
    if num_same:
        yield f"{num_same} other settings are the same; charrnn runs {runs[0].name} shows them"
    yield from score_notes(runs)


def score_notes(runs: Sequence[RunSummary]) -> Iterator[str]:
    """Whether the scores of runs can be compared, where they cannot."""
    if len({(run.fingerprint, run.num_held_out) for run in runs if run.score is not None}) > 1:
        yield "their held-out texts differ, or are read differently: the scores cannot be compared"


def problem_notes(runs: Sequence[RunSummary]) -> Iterator[str]:
    """What is damaged, a line for each run."""
    for run in runs:
        if run.problem:
            yield f"{run.name}: {run.problem}"


def age(seconds: float) -> str:
    """A time span in one unit, as short as it can be said.

    >>> age(5), age(90), age(7300), age(200_000)
    ('now', '1 min', '2 h', '2 d')
    """
    for unit, least, word in _AGES:
        if seconds >= least * unit:
            return f"{int(seconds // unit):,} {word}"
    return _NOW


def _two_lines(run: RunSummary, width: int) -> str:
    """How good a run is, then what it is."""
    first = f"{_score(run)}  {run.state:<10}"  # the states stand below each other
    changed = _age(run)
    facts = [run.model.short_title] if run.model is not None else []
    facts += [_trained(run), changed if changed == _NOW else f"{changed} ago", _text(run)]
    return f"{run.name:<{max(width - len(first) - 1, 1)}} {first.rstrip()}\n{_cut('  ' + ', '.join(facts), width)}\n"


def known_facts(runs: Sequence[RunSummary]) -> dict[str, list[str]]:
    """What is known of each run, by the words that stand before it."""
    return {
        "state": [run.state for run in runs],
        "held-out bits": [_score(run) for run in runs],
        "perplexity": ["-" if run.score is None else f"{perplexity(run.score.nats_per_symbol):.3f}" for run in runs],
        "model": ["-" if run.model is None else run.model.title for run in runs],
        "weights": ["-" if run.model is None else f"{run.model.num_parameters:,}" for run in runs],
        "text": [_text(run) for run in runs],
        "trained": [_trained(run) for run in runs],
        "best step": ["-" if run.best_step is None else f"{run.best_step:,}" for run in runs],
        "age": [_age(run) for run in runs],
    }


def _age(run: RunSummary) -> str:
    return age(time.time() - run.changed)


def _score(run: RunSummary) -> str:
    return "-" if run.score is None else f"{bits(run.score.nats_per_symbol):.4f}/{run.level or 'symbol'}"


def _steps(run: RunSummary) -> str:
    if run.step is None:
        return "-"
    planned = "" if run.num_steps is None or run.state == "finished" else f"/{run.num_steps:,}"
    return f"{run.step:,}{planned}"


def _trained(run: RunSummary) -> str:
    if run.step is None:  # counted
        return "-" if run.seconds is None else f"in {_time(run)}"
    steps = f"{_steps(run)} step{'' if run.step == 1 else 's'}"
    return steps if run.seconds is None else f"{steps} in {_time(run)}"


def _time(run: RunSummary) -> str:
    return "-" if run.seconds is None else clock(run.seconds)


def _text(run: RunSummary) -> str:
    if not run.texts:
        return "-"
    more = max(run.num_texts, len(run.texts)) - 1
    return _cut(run.texts[0], _MOST_TEXT) + (f" +{more:,}" if more else "")


def setting_names(runs: Sequence[RunSummary]) -> list[str]:
    """The settings of runs, in the order of the help; those that are not known here stand last."""
    found = {name for run in runs for name in run.settings} - set(_NOT_COMPARED)
    return [name for name in _ORDER if name in found] + sorted(found - set(_ORDER))


def plain_value(value: object) -> str:
    """A setting's value as a person reads it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return _cut(", ".join(value), _MOST_TEXT)
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else _cut(str(value), _MOST_TEXT)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 3, 0)]}..."
