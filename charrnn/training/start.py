"""The start of a run: from the settings that a user gave, by the command or in Python, to a run that is ready to train.

What may be refused is read before torch is loaded, which takes seconds: so torch is imported where it is needed.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting
from charrnn.models.settings import ModelSettings
from charrnn.storage.config import read_config, write_config
from charrnn.storage.run_files import DEFAULT_RUNS
from charrnn.text.settings import TextSettings, is_stdin
from charrnn.training.machine import MachineSettings
from charrnn.training.settings import LENGTHS, TrainingSettings

if TYPE_CHECKING:
    from charrnn.storage.model_file import ModelFile
    from charrnn.training.checkpoint import Checkpoint
    from charrnn.training.device import Placement
    from charrnn.training.preparation import Prepared
    from charrnn.training.run import Run
    from charrnn.training.world import World

PANEL = "Start"
_OUTPUT = "Output"
_MOST_NAMED = 4  # settings in one message


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
        panel=PANEL,
    )
    init_from: Path | None = setting(
        None,
        help="Start from this model's weights (fine-tuning); symbols that it lacks get fresh weights.",
        metavar="RUN_OR_FILE",
        names_run=True,
        panel=PANEL,
    )


@dataclass(frozen=True, kw_only=True)
class OutputSettings(Settings):
    """Where a run goes and what it shows.

    Attributes:
        name: of the run; None for that of the first text.
        out: directory that holds runs; None for that of ``charrnn.storage.run_name.runs_directory``.
        samples: show a short sample now and then, on a terminal or in a notebook.
        tensorboard: write the history as events for TensorBoard too.
    """

    name: str | None = setting(
        None, help="Name of the run.", metavar="NAME", panel=_OUTPUT, shown_default="the first text's name"
    )
    out: Path | None = setting(
        None,
        help="Directory that holds runs.",
        metavar="DIRECTORY",
        panel=_OUTPUT,
        short="-o",
        shown_default=DEFAULT_RUNS,
    )
    samples: bool = setting(
        True,
        help="Show a short sample now and then (on a terminal or in a notebook).",
        panel=_OUTPUT,
        changes_on_resume=True,
    )
    tensorboard: bool = setting(
        False,
        help="Write the history as events for TensorBoard too, into the run's directory.",
        panel=_OUTPUT,
        changes_on_resume=True,
    )


GROUPS = (TextSettings, StartSettings, TrainingSettings, ModelSettings, MachineSettings, OutputSettings)
_SETTINGS = {name: each for group in GROUPS for name, each in group.settings().items()}


def with_config(given: Mapping[str, Any], config: str | Path, *groups: type[Settings]) -> dict[str, Any]:
    """The settings of a file and those given; where both say one thing, whichever way, the latter win.

    Args:
        given: by name.
        config: a run, whose run.toml is read, or a TOML file.
        groups: whose settings the file may hold.

    Raises:
        InputError: the file cannot be read, or is not TOML.
        SettingsError: it has an unknown name, a value that is out of range, or one that a run keeps that goes on.
    """
    from charrnn.storage.run_name import find_config

    ousted = set()
    for together in (LENGTHS, ("val", "val_fraction")):  # each group says one thing, whichever way
        if any(name in given for name in together):
            ousted |= set(together)
    for name, value, other in (("level", "byte", "encoding"), ("input", "one-hot", "embedding_size")):
        if given.get(name) == value:
            ousted.add(other)
    if "embedding_size" in given:
        ousted.add("input")
    path = find_config(config)
    stored = {name: value for name, value in read_config(path, *groups).items() if name not in {*ousted, *given}}
    if "resume" in {*stored, *given}:
        changes = {name for group in groups for name, each in group.settings().items() if each.changes_on_resume}
        if fixed := [name for name in stored if name not in changes]:
            named = ", ".join(fixed[:_MOST_NAMED]) + (", ..." if len(fixed) > _MOST_NAMED else "")
            raise SettingsError(
                f"`resume` keeps the run's settings, and {str(path)!r} has others ({named}): "
                f"leave them out of the file, or leave `config` out"
            )
    return {**stored, **given}


@dataclass(frozen=True)
class Start:
    """A run that is ready to train.

    Attributes:
        run: yields its events.
        directory: where it is; locked.
        prepared: the task and how it came about.
        placement: where it is computed.
        checkpoint: the state it goes on from; None for a new run.
        world: the processes that share it.
    """

    run: "Run"
    directory: Path
    prepared: "Prepared"
    placement: "Placement"
    checkpoint: "Checkpoint | None"
    world: "World"


@contextmanager
def start_run(given: Mapping[str, Any]) -> Iterator[Start]:
    """The run that a user's settings describe; its directory is locked within the block.

    Args:
        given: settings of ``GROUPS`` by name; what is left out is chosen, and others are passed over.

    Raises:
        CharRNNError: a setting, a text, a model, the directory or the device is not as it must be.
    """
    from charrnn.storage.run_name import find_run

    _check(given)
    given = {**given, **{name: find_run(given[name]) for name in StartSettings.settings() if name in given}}
    with _processes(given) as shared, _run_directory(given, shared) as directory:
        checkpoint, source = _read_start(given, directory)

        from charrnn.training.device import place
        from charrnn.training.run import Run
        from charrnn.training.world import ALONE

        world = shared or ALONE
        machine = _machine(given, checkpoint)
        prepared = _prepared(given, checkpoint, source, machine, num_processes=world.size)
        placement = place(prepared.task.model, machine)
        if world.is_first and checkpoint is None:
            _write_config(directory, prepared, given)
        run = Run(
            prepared.task,
            directory,
            placement=placement,
            weights=prepared.weights,
            checkpoint=checkpoint,
            world=world,
            tensorboard=OutputSettings(**OutputSettings.part_of(given)).tensorboard,
        )
        yield Start(run, directory, prepared, placement, checkpoint, world)


def _check(given: Mapping[str, Any]) -> None:
    """Refuses settings that do not go together whatever their values are, and what is not installed."""
    if given.get("tensorboard"):
        from charrnn.training.tensorboard import require_writer

        require_writer()
    if "resume" in given:
        fixed = [f"`{name}`" for name, each in _SETTINGS.items() if name in given and not each.changes_on_resume]
        if fixed:
            raise SettingsError(
                f"`resume` keeps the run's settings: leave out {', '.join(fixed)}, or start a new run with `init_from`"
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
    with held as found:
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
