"""``charrnn train``: learn a model from text."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.options import require_one_voice, with_settings
from charrnn.cli.run_argument import run_names
from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting
from charrnn.training import start

if TYPE_CHECKING:
    from charrnn.cli.signals import StopRequest
    from charrnn.training.event import Finished


@dataclass(frozen=True, kw_only=True)
class ResultSettings(Settings):
    """What the command prints.

    Attributes:
        quiet: show warnings only, and print the model's path.
        verbose: tell learning rate, gradient and each new plan too.
        json: print the result as one JSON object.
    """

    quiet: bool = setting(
        False, help="Show warnings only; print the model's path.", panel="Output", short="-q", changes_on_resume=True
    )
    verbose: bool = setting(
        False,
        help="Tell learning rate, gradient and each new plan too.",
        panel="Output",
        short="-v",
        changes_on_resume=True,
    )
    json: bool = setting(False, help="Print the result as one JSON object.", panel="Output", changes_on_resume=True)

    def check_together(self) -> None:
        """Makes sure that less or more is said.

        Raises:
            SettingsError: both are asked for.
        """
        require_one_voice(self)


GROUPS = (*start.GROUPS, ResultSettings)


@with_settings(*GROUPS)
def train(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(
            help="Take settings from a TOML file, or from the run.toml of a run; options on the command line win.",
            metavar="<run or file>",
            show_default=False,
            autocompletion=run_names,
            rich_help_panel=start.PANEL,
        ),
    ] = None,
    reset: Annotated[
        str | None,
        typer.Option(
            help="Where a GRU's reset gate acts: before is --cell gru-before (Cho et al. 2014), after --cell gru "
            "(cuDNN, torch).",
            metavar="after|before",
            show_default=False,
            rich_help_panel="Model",
            autocompletion=lambda: ["after", "before"],
        ),
    ] = None,
    **given: Any,  # noqa: ANN401 - settings of every type
) -> None:
    """Learn a model from text.

    The model goes to checkpoints/<name>/model.safetensors, the best one by held-out loss; a run that was stopped
    (Ctrl-C, SIGTERM) goes on with --resume.

    \b
    Examples:
      charrnn train shakespeare.txt
      charrnn train src/ include/ --minutes 15 --cell lstm --hidden-size 512
      cat *.txt | charrnn train - --name notes --level byte --epochs 3
      charrnn train --resume shakespeare
      charrnn train sonnets.txt --init-from shakespeare --minutes 1
      charrnn train --config shakespeare --name again --seed 1
    """
    given = _with_reset(given, reset)
    if config is not None:
        given = _with_config(given, config)
    if given.get("quiet") and given.get("samples"):
        raise SettingsError("--samples shows nothing with --quiet; leave one of them out")
    train_given(given, context.obj)


def train_given(given: Mapping[str, Any], request: "StopRequest") -> None:
    """Trains by the settings that a user gave; see ``train``."""
    shown = start.OutputSettings(**start.OutputSettings.part_of(given))
    result = ResultSettings(**ResultSettings.part_of(given))
    with start.start_run(given) as started:
        is_first = started.world.is_first
        quiet = result.quiet or not is_first
        if not quiet:
            _say_opening(started)
        with request.saving():
            finished = _follow(started, request, quiet=quiet, verbose=result.verbose, samples=shown.samples)
    if is_first:
        _conclude(finished, started, result)
    if finished.reason == "stopped" and request.exit_code is not None:
        from charrnn.reports.terminal import say
        from charrnn.storage.run_name import name_to_type

        run = name_to_type(started.directory)
        say(f"stopped at step {finished.step}; go on with: charrnn train --resume {run}")
        raise typer.Exit(request.exit_code)


def _with_config(given: Mapping[str, Any], config: str) -> dict[str, Any]:
    """The settings of a file, but for those that do not go with the command line's, which win."""
    found = start.with_config(given, config, *GROUPS)
    pairs = (("quiet", "samples"), ("samples", "quiet"), ("quiet", "verbose"), ("verbose", "quiet"))
    for name, other in pairs:
        if given.get(name) and other not in given:
            found.pop(other, None)
    return found


def _with_reset(given: dict[str, Any], reset: str | None) -> dict[str, Any]:
    """The settings with the GRU that ``--reset`` names, as it was named before there were two cells."""
    if reset is None:
        return given
    cells = {"after": "gru", "before": "gru-before"}
    if reset not in cells:
        raise SettingsError(f"--reset {reset!r}: it must be one of after, before")
    if given.get("cell", "gru") not in ("gru", cells[reset]):
        raise SettingsError(f"--reset {reset} goes with a GRU; it does not go with --cell {given['cell']}")
    return {**given, "cell": cells[reset]}


def _say_opening(started: start.Start) -> None:
    """What is about to happen, in a few lines."""
    from charrnn.reports.opening import opening_lines
    from charrnn.reports.terminal import say

    for line in opening_lines(
        started.prepared,
        started.placement,
        started.directory,
        started.checkpoint,
        num_processes=started.world.size,
    ):
        say(line)


def _follow(started: start.Start, request: "StopRequest", *, quiet: bool, verbose: bool, samples: bool) -> "Finished":
    from charrnn.reports.watching import follow, report_to

    level = started.prepared.task.vocab.level
    with report_to(sys.stderr, quiet=quiet, samples=samples, level=level, verbose=verbose) as report:
        return follow(started.run.events(request), report.show)


def _conclude(finished: "Finished", started: start.Start, output: ResultSettings) -> None:
    from charrnn.reports.summary import summary_rows
    from charrnn.reports.terminal import write_facts, write_result

    task, directory = started.prepared.task, started.directory
    shape = task.model
    if output.json:
        result = {
            "run": str(directory),
            "model": str(directory / "model.safetensors"),
            "reason": finished.reason,
            "step": finished.step,
            "best_step": finished.best_step,
            "seconds": round(finished.seconds, 1),
            "shape": shape.title,
            "num_parameters": shape.num_parameters,
            **finished.best.to_json(),
        }
        write_result(json.dumps(result) + "\n")
    elif output.quiet:
        write_result(f"{directory / 'model.safetensors'}\n")
    else:
        text = task.source.texts[0]
        write_facts(summary_rows(finished, directory, shape, level=task.vocab.level, text=text))
