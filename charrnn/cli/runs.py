"""``charrnn runs``: which runs there are, how good each is, and what tells them apart."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.run_argument import run_names
from charrnn.errors import InputError, SettingsError
from charrnn.storage.run_files import DEFAULT_RUNS

if TYPE_CHECKING:
    from charrnn.storage.run_summary import RunSummary


def runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs to show in full, side by side, by name or directory; without one all are listed.",
            show_default=False,
            autocompletion=run_names,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="<directory>", help="Directory that holds runs.", show_default=DEFAULT_RUNS
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List all runs, the latest last; or compare some of them.

    A run is finished, stopped (train --resume goes on), running, a model only (without what --resume needs) or damaged
    (verify says more). Held-out bits are per character, or per byte for models of bytes; less is better, on the same
    text.

    \b
    Examples:
      charrnn runs
      charrnn runs shakespeare
      charrnn runs shakespeare again
      charrnn runs --json
    """
    from charrnn.reports.runs import comparison, comparison_notes, problem_notes, write_comparison, write_runs
    from charrnn.reports.terminal import is_terminal, say, write_result
    from charrnn.storage.run_name import choice_of_runs
    from charrnn.storage.run_summary import all_runs

    directory = None if out is None else _directory(out)
    found = [_summary(name, directory) for name in names] if names else all_runs(directory)
    if as_json:
        import json

        from charrnn.storage.container import plain

        result: dict[str, Any] = {"runs": [run.to_json() for run in found]}
        if len(names or []) > 1:
            result["differs"] = comparison(found)
        write_result(json.dumps(plain(result), ensure_ascii=is_terminal(), allow_nan=False) + "\n")
        return
    if not found:
        say(choice_of_runs(directory))
    elif names:
        write_comparison(found)
    else:
        write_runs(found)
    for note in (*problem_notes(found), *(comparison_notes(found) if names else ())):
        say(f"note: {note}")


def _directory(out: str) -> Path:
    if not out:
        raise SettingsError("--out '': must be a path")
    return Path(out)


def _summary(name: str, directory: Path | None) -> "RunSummary":
    from charrnn.storage.run_name import choice_of_runs, find_run, holds_run
    from charrnn.storage.run_summary import summarized

    path = find_run(name, directory)
    if not holds_run(path):
        raise InputError(f"{str(path)!r} is not a run's directory; {choice_of_runs(directory)}")
    return summarized(path)
