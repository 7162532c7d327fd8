"""``charrnn verify``: whether the files of a run are whole."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable


def verify(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_FILE", help="Directory of a run, or a model file.", show_default=False),
    ],
) -> None:
    """Read every byte of a run's files and say whether each is whole. Exit code 3 if one is not.

    Whole means: the digest inside matches all bytes, weights have the shapes their settings give them, every number
    is finite. A torn last line of the history is no damage: the next run drops it.

    \b
    Examples:
      charrnn verify checkpoints/shakespeare
      charrnn verify model.safetensors
    """
    from charrnn.errors import ExitCode, InputError
    from charrnn.reports.terminal import write_table
    from charrnn.storage.metrics import METRICS_NAME
    from charrnn.storage.model_file import MODEL_NAME
    from charrnn.storage.training_file import TRAINING_NAME

    checks: list[tuple[Path, Callable[[Path], str]]] = [(run, _check_model)]
    try:
        is_run = run.is_dir()
    except OSError:
        is_run = False
    if is_run:
        known = ((MODEL_NAME, _check_model), (TRAINING_NAME, _check_training), (METRICS_NAME, _check_history))
        checks = [(run / name, check) for name, check in known if (run / name).exists()]
        if not checks:
            raise InputError(f"{str(run)!r} holds no run; name a directory that charrnn train wrote")
    rows, are_whole = [], True
    for path, check in checks:
        try:
            rows.append([str(path), "whole", check(path)])
        except InputError as error:
            are_whole = False
            rows.append([str(path), "NOT WHOLE", str(error)])
    write_table(["", "", ""], rows, align="lll")
    if not are_whole:
        raise typer.Exit(ExitCode.INPUT)


def _check_model(path: Path) -> str:
    from charrnn.storage.model_file import read_model

    model = read_model(path)
    score = model.facts.get("held_out")
    nats = score.get("nats_per_char") if isinstance(score, dict) else None
    known = f", held-out {nats:.4f} nats/char" if isinstance(nats, float) else ""
    return f"{model.settings.num_parameters:,} weights, {model.vocab.size} symbols{known}"


def _check_training(path: Path) -> str:
    from charrnn.training.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    planned = "" if checkpoint.num_steps is None else f" of {checkpoint.num_steps:,}"
    return f"step {checkpoint.step:,}{planned}"


def _check_history(path: Path) -> str:
    from charrnn.storage.metrics import read_metrics

    num_lines = len(read_metrics(path))
    return f"{num_lines} line{'' if num_lines == 1 else 's'}"
