"""``charrnn verify``: whether everything is there that should be, and whole."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.run_argument import RunOrFile, chosen_run
from charrnn.errors import CharRNNError, ExitCode, InputError
from charrnn.fields import on_command_line

if TYPE_CHECKING:
    from charrnn.storage.model_file import ModelFile
    from charrnn.training.checkpoint import Checkpoint

_Row = list[str]
_WHOLE, _NOT_WHOLE, _MISSING = "whole", "NOT WHOLE", "MISSING"
_STYLES = {_WHOLE: "good", _NOT_WHOLE: "bad", _MISSING: "bad"}


def verify(
    run: RunOrFile = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing: the exit code tells.")] = False,
) -> None:
    """Check that each of a run's files, or one file, is there and whole. Exit code 3 if one is not.

    Whole means: the digest inside matches all bytes, weights have the shapes their settings give them, every number
    is finite, and model and training state are of one run. An incomplete last line of the history is not damage: the
    next run removes it.

    \b
    Examples:
      charrnn verify shakespeare
      charrnn verify model.safetensors
    """
    from charrnn.reports.terminal import write_table
    from charrnn.storage.run_lock import is_directory

    path = chosen_run(run)
    rows = _check_run(path) if is_directory(path) else [[path.name or str(path), *_check_file(path)]]
    if not quiet:
        write_table(["", "", ""], rows, align="lll", styles=_STYLES)
    if any(row[1] != _WHOLE for row in rows):
        raise typer.Exit(ExitCode.INPUT)


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:  # it cannot be looked for: who reads it says why
        return False


def _check_file(path: Path) -> _Row:
    """What is found of one file, read as what its name in a run says; by any other name it is a model."""
    from charrnn.storage.run_files import CONFIG_NAME, METRICS_NAME, TRAINING_NAME
    from charrnn.training.checkpoint import read_checkpoint

    described: dict[str, Callable[[], str]] = {
        TRAINING_NAME: lambda: _of_training(read_checkpoint(path)),
        METRICS_NAME: lambda: _of_history(path),
        CONFIG_NAME: lambda: _of_config(path),
    }
    check = described.get(path.name, lambda: _of_model(_model(path)))
    return _checked(path, check, missing="there is no such file")


def _check_run(run: Path) -> list[_Row]:
    from charrnn.storage.run_files import CONFIG_NAME, METRICS_NAME, MODEL_NAME, TRAINING_NAME
    from charrnn.storage.run_lock import is_in_use

    model_path, training_path = run / MODEL_NAME, run / TRAINING_NAME
    history_path, config_path = run / METRICS_NAME, run / CONFIG_NAME
    try:
        holds_run = model_path.exists() or training_path.exists()
    except OSError as error:
        raise InputError(f"cannot read {str(run)!r}: {error.strerror or error}") from error
    if not holds_run:
        raise InputError(f"{str(run)!r} holds no run; name a directory that charrnn train wrote")
    checkpoint: Checkpoint | None = None
    rows: list[_Row]

    def training() -> str:
        nonlocal checkpoint
        from charrnn.training.checkpoint import read_checkpoint

        checkpoint = read_checkpoint(training_path)
        return _of_training(checkpoint)

    def model() -> str:
        from charrnn.storage.model_file import is_of_run

        found = _model(model_path)
        if checkpoint is not None and not is_of_run(found.to_facts(), checkpoint.to_facts()):
            raise InputError("it belongs to another run than the training state in this directory")
        return _of_model(found)

    if _is_made_at_once(run):
        rows = [[MODEL_NAME, *_checked(model_path, lambda: _of_model(_model(model_path)))]]
        if config_path.exists():
            rows.append([CONFIG_NAME, *_checked(config_path, lambda: _of_config(config_path))])
        return rows

    # A run in training has written some of its files, and will write the others.
    is_complete = not is_in_use(run)
    rows = []

    def add(path: Path, check: Callable[[], str], *, missing: str = "", at: int | None = None) -> None:
        rows.insert(len(rows) if at is None else at, [path.name, *_checked(path, check, missing=missing)])

    if training_path.exists() or is_complete:
        add(training_path, training, missing="the run cannot be resumed")
    is_evaluated = is_complete and (checkpoint is None or checkpoint.best is not None)
    if model_path.exists() or is_evaluated:
        add(model_path, model, missing="the best model is lost; resume or train again", at=0)
    if history_path.exists() or is_evaluated:
        history = partial(_of_history, history_path, may_be_empty=not is_evaluated)
        add(history_path, history, missing="the history of the losses is lost")
    if config_path.exists() or is_complete:
        add(config_path, lambda: _of_config(config_path), missing="--config cannot take its settings")
    return rows


def _is_made_at_once(run: Path) -> bool:
    """Whether it is a run of counts or a mixture, which has neither a training state nor a history."""
    from charrnn.models.settings import ModelSettings
    from charrnn.storage.run_files import TRAINING_NAME
    from charrnn.storage.run_summary import summarized

    shape = summarized(run).model
    return shape is not None and not isinstance(shape, ModelSettings) and not (run / TRAINING_NAME).exists()


def _checked(path: Path, check: Callable[[], str], *, missing: str = "") -> _Row:
    """The verdict on a file, and what is known of it or wrong with it."""
    if missing and _is_missing(path):
        return [_MISSING, missing]
    try:
        return [_WHOLE, check()]
    except CharRNNError as error:
        return [_NOT_WHOLE, on_command_line(str(error))]


def _model(path: Path) -> "ModelFile":
    from charrnn.storage.model_file import read_model

    return read_model(path)


def _of_model(model: "ModelFile") -> str:
    nats, level = _claimed_nats(model), model.vocab.level
    claimed = "" if nats is None else f", which claims a held-out loss of {nats:.4f} nats/{level}"
    return f"{model.settings.num_parameters:,} weights, {model.vocab.size} symbols{claimed}"


def _claimed_nats(model: "ModelFile") -> float | None:
    """Held-out nats per symbol, as far as the file tells; of a model of characters an old file tells nothing else."""
    score = model.facts.get("held_out")
    if not isinstance(score, dict):
        return None
    if model.vocab.level == "char":
        value = score.get("nats_per_char")
        return value if isinstance(value, float) else None
    nats, count = score.get("nats"), score.get("num_bytes")
    return nats / count if isinstance(nats, float) and isinstance(count, int) and count else None


def _of_training(checkpoint: "Checkpoint") -> str:
    planned = "" if checkpoint.num_steps is None else f" of {checkpoint.num_steps:,}"
    return f"step {checkpoint.step:,}{planned}"


def _of_history(path: Path, *, may_be_empty: bool = False) -> str:
    from charrnn.storage.metrics import check_metrics

    num_lines = check_metrics(path)
    if not num_lines and not may_be_empty:
        raise InputError("it is empty: the history of the losses is lost")
    return f"{num_lines} line{'' if num_lines == 1 else 's'}"


def _of_config(path: Path) -> str:
    from charrnn.cli.train import GROUPS
    from charrnn.storage.config import read_config
    from charrnn.training.settings import CountingSettings

    num_settings = len(read_config(path, *GROUPS, CountingSettings))
    if not num_settings:
        raise InputError("it holds no settings")
    return f"{num_settings} setting{'' if num_settings == 1 else 's'}"
