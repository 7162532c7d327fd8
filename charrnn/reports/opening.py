"""The beginning of a run in a few lines: what is learned, by what, and where it goes."""

import re
from pathlib import Path

from charrnn.reports.part import UNITS
from charrnn.storage.run_directory import is_taken, name_of_text
from charrnn.storage.run_name import holds_run
from charrnn.storage.run_summary import summarized
from charrnn.training.checkpoint import Checkpoint
from charrnn.training.device import Placement
from charrnn.training.preparation import Prepared
from charrnn.training.run import MAX_EVALUATED, MAX_FINAL


def opening_lines(
    prepared: Prepared,
    placement: Placement,
    directory: Path,
    checkpoint: Checkpoint | None,
    *,
    num_processes: int,
) -> list[str]:
    """The lines, for stderr.

    Args:
        prepared: the task and its notes.
        placement: where it is computed.
        directory: where the run is.
        checkpoint: the state it goes on from; None for a new run.
        num_processes: processes that share the run.
    """
    task = prepared.task
    shape, recipe = task.model, task.training
    names = ", ".join(task.text.names[:3]) + (" ..." if len(task.text.names) > 3 else "")
    num_learned, num_held_out, unit = len(task.train_ids), len(task.held_out_ids), UNITS[task.vocab.level]
    sizes = f"{num_learned:,} {unit} to learn from, {num_held_out:,} held out, {task.vocab.size} different"
    steps = f"batch size {recipe.batch_size}, bptt {recipe.bptt}, learning rate {recipe.learning_rate:.3g}"
    noise = f"dropout {recipe.dropout:.2g} (recurrent weights {recipe.weight_dropout:.2g}), seed {recipe.seed}"
    shared = f", shared by {num_processes} processes" if num_processes > 1 else ""
    threads = f"{placement.num_threads} thread{'' if placement.num_threads == 1 else 's'}"
    machine = f"{placement.device.type}, {placement.signature()['precision']}, {threads}{shared}"
    lines = [
        f"text:  {names}: {sizes}",
        f"model: {shape.title}: {shape.num_parameters:,} weights; {prepared.reason}",
        f"train: {steps}, {noise}; on {machine}",
        f"run:   {directory}",
    ]
    if num_held_out > MAX_EVALUATED:
        final = "all" if num_held_out <= MAX_FINAL else f"the first {MAX_FINAL:,}"
        lines.append(f"score: of the first {MAX_EVALUATED:,} held-out {unit} while training, of {final} at the end")
    lines += [f"note:  {note}" for note in prepared.notes]
    if placement.note:
        lines.append(f"note:  {placement.note}")
    if checkpoint is None:
        lines += _name_lines(directory, task.source.texts[0])
    else:
        lines += _resume_lines(placement, checkpoint, num_processes=num_processes)
    return lines


def _name_lines(directory: Path, text: str) -> list[str]:
    """Why a run does not have the name of its text: where another has it, how good that one is."""
    name = name_of_text(text)
    holder = directory.with_name(name)
    if not re.fullmatch(rf"{re.escape(name)}-\d+", directory.name) or not is_taken(holder):
        return []
    what = f"a run ({summarized(holder).description})" if holds_run(holder) else "other files"
    return [f"note:  the name {name} is taken by {what}: this run is {directory.name}"]


def _resume_lines(placement: Placement, checkpoint: Checkpoint, *, num_processes: int) -> list[str]:
    lines = [f"note:  going on from step {checkpoint.step}"]
    signature = placement.signature() | {"num_processes": num_processes}
    changed = sorted(key for key, value in signature.items() if checkpoint.computed_by.get(key) != value)
    if changed:
        lines.append(
            f"note:  not bit for bit as if it had never stopped: {', '.join(changed)} "
            f"{'differs' if len(changed) == 1 else 'differ'} from the machine it began on"
        )
    return lines
