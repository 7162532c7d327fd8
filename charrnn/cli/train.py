"""``charrnn train``: learn a model from text."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.options import read_config, with_settings, write_config
from charrnn.cli.run_argument import run_names
from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting
from charrnn.models.settings import ModelSettings
from charrnn.storage.run_files import DEFAULT_RUNS
from charrnn.text.settings import TextSettings, is_stdin
from charrnn.training.machine import MachineSettings
from charrnn.training.settings import LENGTHS, TrainingSettings

if TYPE_CHECKING:
    from charrnn.cli.signals import StopRequest
    from charrnn.storage.model_file import ModelFile
    from charrnn.training import event
    from charrnn.training.checkpoint import Checkpoint
    from charrnn.training.device import Placement
    from charrnn.training.preparation import Prepared
    from charrnn.training.run import Run
    from charrnn.training.world import World

_PANEL = "Output"


@dataclass(frozen=True, kw_only=True)
class OutputSettings(Settings):
    """Where a run goes and what it says.

    Attributes:
        name: of the run; None for that of the first text.
        out: directory that holds runs; None for that of ``charrnn.storage.run_name.runs_directory``.
        quiet: show warnings only, and print the model's path.
        json: print the result as one JSON object.
        samples: show a short sample now and then, on a terminal.
    """

    name: str | None = setting(
        None, help="Name of the run.", metavar="NAME", panel=_PANEL, shown_default="the first text's name"
    )
    out: Path | None = setting(
        None,
        help="Directory that holds runs.",
        metavar="DIRECTORY",
        panel=_PANEL,
        short="-o",
        shown_default=DEFAULT_RUNS,
    )
    quiet: bool = setting(
        False, help="Show warnings only; print the model's path.", panel=_PANEL, short="-q", changes_on_resume=True
    )
    json: bool = setting(False, help="Print the result as one JSON object.", panel=_PANEL, changes_on_resume=True)
    samples: bool = setting(
        True, help="Show a short sample now and then (on a terminal).", panel=_PANEL, changes_on_resume=True
    )


@dataclass(frozen=True, kw_only=True)
class StartSettings(Settings):
    """Where a run begins.

    Attributes:
        resume: a run to go on with, by its name or directory.
        init_from: run or model file whose weights to start from.
    """

    resume: Path | None = setting(
        None,
        help="Go on with this run, named by its name or directory, exactly as if it had not stopped.",
        metavar="RUN",
        names_run=True,
        changes_on_resume=True,
    )
    init_from: Path | None = setting(
        None,
        help="Start from this model's weights (fine-tuning); symbols that it lacks get fresh weights.",
        metavar="RUN_OR_FILE",
        names_run=True,
    )


GROUPS = (TextSettings, StartSettings, TrainingSettings, ModelSettings, MachineSettings, OutputSettings)
_SETTINGS = {name: each for group in GROUPS for name, each in group.settings().items()}


@with_settings(*GROUPS)
def train(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(
            help="Take settings from a TOML file, or from the run.toml of a run; options on the command line win.",
            metavar="RUN_OR_FILE",
            show_default=False,
            autocompletion=run_names,
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
    if config is not None:
        from charrnn.storage.run_name import find_config

        stored, ousted = read_config(find_config(config), *GROUPS), _ousted(given, reset)
        given = {**{name: value for name, value in stored.items() if name not in ousted}, **given}
    given = _with_reset(given, reset)
    _check_given(given)
    train_given(given, context.obj)


def train_given(given: Mapping[str, Any], request: "StopRequest") -> None:
    """Trains by the settings that a user gave; see ``train``."""
    from charrnn.storage.run_name import find_run

    output = OutputSettings(**OutputSettings.part_of(given))
    given = {**given, **{name: find_run(given[name]) for name in StartSettings.settings() if name in given}}
    with _processes(given) as world, _run_directory(given, world) as directory:
        is_first = world is None or world.is_first
        # What may be refused is read before torch is loaded, which takes seconds.
        checkpoint, source = _read_start(given, directory)

        from charrnn.training.device import place
        from charrnn.training.run import Run
        from charrnn.training.world import ALONE

        world = world or ALONE
        machine = _machine(given, checkpoint)
        prepared = _prepared(given, checkpoint, source, machine, num_processes=world.size)
        placement = place(prepared.task.model, machine)
        if is_first and checkpoint is None:
            _write_config(directory, prepared, given)
        run = Run(
            prepared.task,
            directory,
            placement=placement,
            weights=prepared.weights,
            checkpoint=checkpoint,
            world=world,
        )
        quiet = output.quiet or not is_first
        if not quiet:
            _say_opening(prepared, placement, directory, checkpoint, num_processes=world.size)
        with request.saving():
            finished = _follow(run, request, quiet=quiet, sample=output.samples)
    if is_first:
        _conclude(finished, directory, prepared, output)
    if finished.reason == "stopped" and request.exit_code is not None:
        from charrnn.reports.terminal import say
        from charrnn.storage.run_name import name_to_type

        say(f"stopped at step {finished.step}; go on with: charrnn train --resume {name_to_type(directory)}")
        raise typer.Exit(request.exit_code)


def _ousted(given: Mapping[str, Any], reset: str | None) -> set[str]:
    """The settings of a file that do not go with those of the command line, which win."""
    ousted = {"cell"} if reset is not None else set()
    for together in (LENGTHS, ("val", "val_fraction")):  # each group says one thing, whichever way
        if any(name in given for name in together):
            ousted |= set(together)
    for name, value, other in (
        ("level", "byte", "encoding"),
        ("input", "one-hot", "embedding_size"),
        ("quiet", True, "samples"),
        ("samples", True, "quiet"),
    ):
        if given.get(name) == value:
            ousted.add(other)
    if "embedding_size" in given:
        ousted.add("input")
    return ousted


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


def _check_given(given: Mapping[str, Any]) -> None:
    """Refuses settings that do not go together whatever their values are."""
    if given.get("quiet") and given.get("samples"):
        raise SettingsError("--samples shows nothing with --quiet; leave one of them out")
    if "resume" in given:
        fixed = [_SETTINGS[name].option for name in given if not _SETTINGS[name].changes_on_resume]
        if fixed:
            raise SettingsError(
                f"--resume keeps the run's settings: leave out {', '.join(fixed)}, or start a new run with --init-from"
            )
    elif not given.get("texts"):
        raise SettingsError("name at least one TEXT to learn from: a text file, a directory, or - for standard input")


@contextmanager
def _processes(given: Mapping[str, Any]) -> "Iterator[World | None]":
    """The processes that torchrun has started to share the run; None for one that is alone, without loading torch."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield None
        return
    if any(map(is_stdin, (*given.get("texts", ()), *given.get("val", ())))):
        raise SettingsError(
            "standard input cannot be shared by several processes; name a file that all of them can read"
        )
    from charrnn.training.world import join

    with join() as world:
        yield world


@contextmanager
def _run_directory(given: Mapping[str, Any], world: "World | None") -> Iterator[Path]:
    """The run's directory, made and locked by the process that writes."""
    from charrnn.files import remove_stale
    from charrnn.storage.run_directory import name_of_text, new_run
    from charrnn.storage.run_files import TRAINING_NAME
    from charrnn.storage.run_lock import RunLock, is_directory
    from charrnn.storage.run_name import runs_directory
    from charrnn.storage.training_file import require_training

    resume = given.get("resume")
    output = OutputSettings(**OutputSettings.part_of(given))
    if world is not None and not world.is_first:
        yield Path(world.from_first(None))
        return
    if resume is not None:
        if is_directory(resume):  # nothing is written where there is no run, not even a lock
            require_training(resume / TRAINING_NAME)
        held: Any = RunLock(resume)
    else:
        name = name_of_text(given["texts"][0]) if output.name is None else output.name
        held = new_run(output.out or runs_directory(), name, is_chosen=output.name is not None)
    with held as found, nullcontext():
        directory = resume if resume is not None else found
        remove_stale(directory)
        if world is not None:
            world.from_first(str(directory))
        yield directory


def _read_start(given: Mapping[str, Any], directory: Path) -> "tuple[Checkpoint | None, ModelFile | None]":
    """The state to go on from, or the model to start from, where either was asked for."""
    if "resume" in given:
        from charrnn.storage.run_files import TRAINING_NAME
        from charrnn.training.checkpoint import read_checkpoint

        return read_checkpoint(directory / TRAINING_NAME), None
    if "init_from" in given:
        from charrnn.storage.model_file import read_model

        return None, read_model(given["init_from"])
    return None, None


def _machine(given: Mapping[str, Any], checkpoint: "Checkpoint | None") -> MachineSettings:
    from charrnn.training.device import as_before

    machine = MachineSettings(**MachineSettings.part_of(given))
    return machine if checkpoint is None else as_before(machine, checkpoint.computed_by)


def _prepared(
    given: Mapping[str, Any],
    checkpoint: "Checkpoint | None",
    source: "ModelFile | None",
    machine: MachineSettings,
    *,
    num_processes: int,
) -> "Prepared":
    from charrnn.training.device import has_gpu
    from charrnn.training.preparation import prepare, prepare_resume

    text = TextSettings.part_of(given)
    if checkpoint is not None:
        return prepare_resume(checkpoint, text)
    return prepare(
        text,
        on_gpu=has_gpu(machine.device),
        model=ModelSettings.part_of(given),
        training=TrainingSettings.part_of(given),
        init_from=source,
        num_processes=num_processes,
    )


def _write_config(directory: Path, prepared: "Prepared", given: Mapping[str, Any]) -> None:
    """Keeps the settings in effect with the run, as a file that ``--config`` takes."""
    from charrnn.files import write_atomically
    from charrnn.storage.run_files import CONFIG_NAME

    task = prepared.task
    effective = {**task.source.to_json(), **task.training.to_json(), **task.model.to_json()}
    if task.model.input == "one-hot":
        del effective["embedding_size"]
    effective |= MachineSettings.part_of(given)
    if "init_from" in given:  # like the texts, found from any working directory
        effective["init_from"] = given["init_from"].resolve()
    known = {name: value for name, value in effective.items() if not _SETTINGS[name].is_internal and value != []}
    write_atomically(directory / CONFIG_NAME, write_config(known))


def _say_opening(
    prepared: "Prepared",
    placement: "Placement",
    directory: Path,
    checkpoint: "Checkpoint | None",
    *,
    num_processes: int,
) -> None:
    """What is about to happen, in a few lines."""
    from charrnn.reports.opening import opening_lines
    from charrnn.reports.terminal import say

    for line in opening_lines(prepared, placement, directory, checkpoint, num_processes=num_processes):
        say(line)


def _follow(run: "Run", request: "StopRequest", *, quiet: bool, sample: bool) -> "event.Finished":
    from charrnn.reports.progress import report_to
    from charrnn.training import event

    finished: event.Finished | None = None
    with report_to(sys.stderr, quiet=quiet, sample=_short_sample if sample else None) as report:
        for happened in run.events(request):
            report.show(happened)
            if isinstance(happened, event.Finished):
                finished = happened
    if finished is None:
        raise RuntimeError("the run yielded no end")
    return finished


def _short_sample(evaluated: "event.Evaluated") -> str:
    """A few lines by the model as it is now, always from the same seed so that progress shows."""
    from charrnn.inference.language_model import LanguageModel

    return LanguageModel(evaluated.model, num_threads=1).sample(length=160, temperature=0.8, seed=0)[0]


def _conclude(finished: "event.Finished", directory: Path, prepared: "Prepared", output: OutputSettings) -> None:
    from charrnn.reports.summary import run_summary
    from charrnn.reports.terminal import write_result

    shape, level = prepared.task.model, prepared.task.vocab.level

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
        write_result(run_summary(finished, directory, shape, level=level))
