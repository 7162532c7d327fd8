"""``charrnn train``: learn a model from text."""

import json
import os
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from charrnn.errors import SettingsError
from charrnn.models.settings import ModelSettings
from charrnn.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charrnn.training import event
    from charrnn.training.device import Placement
    from charrnn.training.preparation import Prepared
    from charrnn.training.world import World

_TEXT, _MODEL, _RECIPE, _MACHINE, _OUTPUT = "Text", "Model", "Recipe", "Machine", "Output"
_AUTO = "chosen to suit text, time and device"


def train(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Text files, directories (their files in sorted order) or - for standard input, read one after the "
            "other in the order given.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the run; the first text's name by default.", rich_help_panel=_OUTPUT),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Directory that holds runs.", rich_help_panel=_OUTPUT)] = Path(
        "checkpoints"
    ),
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show warnings only; print the model's path.", rich_help_panel=_OUTPUT)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.", rich_help_panel=_OUTPUT)
    ] = False,
    samples: Annotated[
        bool, typer.Option(help="Show a short sample now and then (on a terminal).", rich_help_panel=_OUTPUT)
    ] = True,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on with the run in this directory, exactly as if it had not stopped.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(help="Start from this model's weights (fine-tuning); symbols it lacks get fresh ones."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Length of the run in minutes  [default: 5, or 60 epochs of a text below 400,000 symbols]",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="... or in passes over the text.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="... or in updates.", show_default=False)] = None,
    level: Annotated[Literal["char", "byte"], typer.Option(help="What a symbol is.", rich_help_panel=_TEXT)] = "char",
    encoding: Annotated[str, typer.Option(help="Encoding of the texts.", rich_help_panel=_TEXT)] = "utf-8",
    val_fraction: Annotated[
        float, typer.Option(help="Share of the text, at its end, held out for evaluation.", rich_help_panel=_TEXT)
    ] = 0.1,
    val: Annotated[
        list[str] | None,
        typer.Option(
            "--val", metavar="TEXT", help="A held-out text of its own; may be repeated.", rich_help_panel=_TEXT
        ),
    ] = None,
    cell: Annotated[
        Literal["rnn", "lstm", "gru"] | None,
        typer.Option(
            help=f"Recurrent cell  [default: {ModelSettings.cell}]", rich_help_panel=_MODEL, show_default=False
        ),
    ] = None,
    num_layers: Annotated[
        int | None,
        typer.Option(
            help=f"Recurrent layers  [default: {ModelSettings.num_layers}]", rich_help_panel=_MODEL, show_default=False
        ),
    ] = None,
    hidden_size: Annotated[
        int | None, typer.Option(help=f"Units a layer; {_AUTO}.", rich_help_panel=_MODEL, show_default=False)
    ] = None,
    input: Annotated[  # noqa: A002 - the field's word
        Literal["one-hot", "embedding"] | None,
        typer.Option(
            help="How a symbol enters: a column of the input weights, or a learned vector before them; one-hot up to "
            "512 symbols.",
            rich_help_panel=_MODEL,
            show_default=False,
        ),
    ] = None,
    embedding_size: Annotated[
        int | None, typer.Option(help=f"Size of those vectors; {_AUTO}.", rich_help_panel=_MODEL, show_default=False)
    ] = None,
    dropout: Annotated[
        float | None,
        typer.Option(
            help=f"Share of each layer's outputs dropped in training; {_AUTO}.",
            rich_help_panel=_MODEL,
            show_default=False,
        ),
    ] = None,
    weight_dropout: Annotated[
        float | None,
        typer.Option(
            help=f"Share of the recurrent weights dropped in training, anew for each window; {_AUTO}.",
            rich_help_panel=_MODEL,
            show_default=False,
        ),
    ] = None,
    bias: Annotated[
        bool | None,
        typer.Option("--bias/--no-bias", help="Biases  [default: bias]", rich_help_panel=_MODEL, show_default=False),
    ] = None,
    reset: Annotated[
        Literal["after", "before"] | None,
        typer.Option(
            help="Where a GRU's reset gate acts: after the recurrent product (cuDNN, torch) or before it (Cho et al. "
            f"2014)  [default: {ModelSettings.reset}]",
            rich_help_panel=_MODEL,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help=f"Parallel streams; {_AUTO}.", rich_help_panel=_RECIPE, show_default=False)
    ] = None,
    bptt: Annotated[
        int | None,
        typer.Option(help=f"Steps a gradient reaches back; {_AUTO}.", rich_help_panel=_RECIPE, show_default=False),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help=f"Peak rate of AdamW; {_AUTO}.", rich_help_panel=_RECIPE, show_default=False),
    ] = None,
    final_learning_rate: Annotated[
        float | None,
        typer.Option(
            help=f"Last rate, as a share of the peak  [default: {TrainingSettings.final_learning_rate:g}]",
            rich_help_panel=_RECIPE,
            show_default=False,
        ),
    ] = None,
    warmup_steps: Annotated[
        int | None,
        typer.Option(
            help=f"Steps in which the rate rises  [default: {TrainingSettings.warmup_steps}]",
            rich_help_panel=_RECIPE,
            show_default=False,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            help=f"AdamW's decay of matrices  [default: {TrainingSettings.weight_decay:g}]",
            rich_help_panel=_RECIPE,
            show_default=False,
        ),
    ] = None,
    grad_clip: Annotated[
        float | None,
        typer.Option(
            help=f"Largest norm of the gradient  [default: {TrainingSettings.grad_clip:g}]",
            rich_help_panel=_RECIPE,
            show_default=False,
        ),
    ] = None,
    averaging: Annotated[
        float | None,
        typer.Option(
            help="Share of the steps so far that the averaged weights look back  "
            f"[default: {TrainingSettings.averaging:g}]",
            rich_help_panel=_RECIPE,
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        float | None,
        typer.Option(
            help="Share of windows at which a stream begins anew from the zero state  "
            f"[default: {TrainingSettings.restart:g}]",
            rich_help_panel=_RECIPE,
            show_default=False,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help=f"Evaluations without a better held-out loss that end the run  [default: {TrainingSettings.patience}]",
            rich_help_panel=_RECIPE,
            show_default=False,
        ),
    ] = None,
    eval_every: Annotated[
        int | None,
        typer.Option(help="Steps between evaluations; about 20 a run.", rich_help_panel=_RECIPE, show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help=f"Of weights, windows and dropout  [default: {TrainingSettings.seed}]",
            rich_help_panel=_RECIPE,
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to compute.", rich_help_panel=_MACHINE)
    ] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(
            help="Of the products; sums are float32: auto is bfloat16 where the processor has it.",
            rich_help_panel=_MACHINE,
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="CPU threads; all cores by default.", rich_help_panel=_MACHINE),
    ] = None,
) -> None:
    """Learn a model from text.

    The model goes to checkpoints/<name>/model.safetensors, the best one by held-out loss; a run that was stopped
    (Ctrl-C, SIGTERM) goes on with --resume.

    \b
    Examples:
      charrnn train shakespeare.txt
      charrnn train src/ include/ --minutes 15 --cell lstm --hidden-size 512
      cat *.txt | charrnn train - --name notes --level byte --epochs 3
      charrnn train --resume checkpoints/shakespeare
      charrnn train sonnets.txt --init-from checkpoints/shakespeare --minutes 1
    """
    model = _given(
        cell=cell,
        num_layers=num_layers,
        hidden_size=hidden_size,
        input=input,
        embedding_size=embedding_size,
        dropout=dropout,
        weight_dropout=weight_dropout,
        bias=bias,
        reset=reset,
    )
    training = _given(
        minutes=minutes,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        bptt=bptt,
        learning_rate=learning_rate,
        final_learning_rate=final_learning_rate,
        warmup_steps=warmup_steps,
        weight_decay=weight_decay,
        grad_clip=grad_clip,
        averaging=averaging,
        restart=restart,
        patience=patience,
        eval_every=eval_every,
        seed=seed,
    )
    if resume is not None:
        fixed = [*model, *training, *_given(name=name, init_from=init_from, val=val or None)]
        if fixed:
            options = ", ".join(f"--{option.replace('_', '-')}" for option in fixed)
            raise typer.BadParameter(
                f"a resumed run keeps its settings: leave out {options}, or start a new run with --init-from",
                param_hint="--resume",
            )
    elif not files:
        raise typer.BadParameter("name at least one text file, directory or - to learn from", param_hint="TEXT...")

    from charrnn.reports.progress import say
    from charrnn.storage.atomic import probe_writable, remove_stale
    from charrnn.storage.model_file import ModelFile, read_model
    from charrnn.storage.run_lock import RunLock
    from charrnn.training.checkpoint import TRAINING_NAME, Checkpoint, read_checkpoint
    from charrnn.training.stop import stop_on_signals

    with stop_on_signals() as request, _processes(files or []) as world:
        is_first = world is None or world.is_first
        directory = resume if resume is not None else out
        if resume is None and is_first:
            directory = _new_directory(out, name, files or [])
            probe_writable(directory)
        if world is not None:
            directory = Path(world.from_first(str(directory)))
        quiet = quiet or not is_first
        checkpoint: Checkpoint | None = None
        source: ModelFile | None = None
        with RunLock(directory) if is_first else nullcontext():
            if is_first:
                remove_stale(directory)
            # What may be refused is read before torch is loaded, which takes seconds.
            if resume is not None:
                checkpoint = read_checkpoint(directory / TRAINING_NAME)
            elif init_from is not None:
                source = read_model(init_from)

            from charrnn.training.device import as_before, has_gpu, place
            from charrnn.training.preparation import TextChoice, prepare, prepare_resume
            from charrnn.training.trainer import Trainer
            from charrnn.training.world import ALONE

            if checkpoint is not None:
                prepared = prepare_resume(checkpoint, files or [])
                device, precision, threads = as_before(
                    checkpoint.computed_by, device=device, precision=precision, num_threads=threads
                )
            else:
                prepared = prepare(
                    TextChoice(tuple(files or ()), level, encoding, tuple(val or ()), val_fraction),
                    on_gpu=has_gpu(device),
                    model=model,
                    training=training,
                    init_from=source,
                    num_processes=(world or ALONE).size,
                )
            placement = place(prepared.task.model, device=device, precision=precision, num_threads=threads)
            trainer = Trainer(
                prepared.task,
                directory,
                placement=placement,
                weights=prepared.weights,
                checkpoint=checkpoint,
                world=world or ALONE,
            )
            if not quiet:
                for line in _opening(prepared, placement, directory, checkpoint, num_processes=(world or ALONE).size):
                    say(line)
            finished = _follow(trainer, request, quiet=quiet, sample=samples)
    if is_first:
        _conclude(finished, directory, prepared.task.model, quiet=quiet, as_json=as_json)
    if finished.reason == "stopped" and request.exit_code is not None:
        say(f"stopped at step {finished.step}; go on with: charrnn train --resume {directory}")
        raise typer.Exit(request.exit_code)


@contextmanager
def _processes(files: list[str]) -> "Iterator[World | None]":
    """The processes that torchrun has started to share the run; None for one that is alone, without loading torch."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield None
        return
    if "-" in files:
        raise SettingsError(
            "standard input cannot be shared by several processes; name a file that all of them can read"
        )
    from charrnn.training.world import join

    with join() as world:
        yield world


def _given(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - options of every type
    return {name: value for name, value in options.items() if value is not None}


def _new_directory(out: Path, name: str | None, files: list[str]) -> Path:
    """``out``/name, or the first of name-2, name-3, ... that no run has taken when the name was not asked for."""
    from charrnn.errors import OutputError
    from charrnn.storage.run_lock import checked_name, is_taken

    if name is not None:
        directory = out / checked_name(name)
        if is_taken(directory):
            raise OutputError(
                f"{directory} already holds a run; give another --name, go on with --resume {directory}, or remove it"
            )
        return directory
    stem = Path(files[0]).resolve().stem if files[0] != "-" else "stdin"
    base = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem).strip(".-") or "run"
    directory, number = out / base, 2
    while is_taken(directory):
        directory, number = out / f"{base}-{number}", number + 1
    return directory


def _opening(
    prepared: "Prepared",
    placement: "Placement",
    directory: Path,
    checkpoint: Any,  # noqa: ANN401
    *,
    num_processes: int,
) -> list[str]:
    """What is about to happen, in a few lines."""
    task = prepared.task
    shape, recipe, corpus = task.model, task.training, task.corpus
    names = ", ".join(corpus["names"][:3]) + (" ..." if len(corpus["names"]) > 3 else "")
    unit = "bytes" if task.vocab.level == "byte" else "characters"
    num_learned, num_held_out = len(task.train_ids), len(task.held_out_ids)
    sizes = f"{num_learned:,} {unit} to learn from, {num_held_out:,} held out, {task.vocab.size} different"
    steps = f"batch size {recipe.batch_size}, bptt {recipe.bptt}, learning rate {recipe.learning_rate:.3g}"
    noise = f"dropout {shape.dropout:.2g} (recurrent weights {shape.weight_dropout:.2g}), seed {recipe.seed}"
    shared = f", shared by {num_processes} processes" if num_processes > 1 else ""
    machine = f"{placement.device.type}, {placement.signature()['precision']}, {placement.num_threads} threads{shared}"
    lines = [
        f"text:  {names}: {sizes}",
        f"model: {describe(shape)}: {shape.num_parameters:,} weights; {prepared.reason}",
        f"train: {steps}, {noise}; on {machine}",
        f"run:   {directory}",
    ]
    lines += [f"note:  {note}" for note in prepared.notes]
    if placement.note:
        lines.append(f"note:  {placement.note}")
    if checkpoint is not None:
        lines.append(f"note:  going on from step {checkpoint.step}")
        signature = placement.signature() | {"num_processes": num_processes}
        changed = {key for key, value in signature.items() if checkpoint.computed_by.get(key) != value}
        if changed:
            lines.append(
                f"note:  not bit for bit as if it had never stopped: {', '.join(sorted(changed))} "
                f"{'differs' if len(changed) == 1 else 'differ'} from the machine it began on"
            )
    return lines


def describe(shape: ModelSettings) -> str:
    """A model's shape in a few words.

    >>> from charrnn.models.settings import ModelSettings
    >>> describe(ModelSettings(vocab_size=65))
    'LSTM 1x256, one-hot input'
    """
    kind = {"rnn": "vanilla RNN", "lstm": "LSTM", "gru": "GRU"}[shape.cell]
    kind += " (reset before)" if shape.reset == "before" else ""
    size = f" of {shape.embedding_size}" if shape.input == "embedding" else " input"
    return f"{kind} {shape.num_layers}x{shape.hidden_size}, {shape.input}{size}{'' if shape.bias else ', no bias'}"


def _follow(trainer: Any, request: Any, *, quiet: bool, sample: bool) -> "event.Finished":  # noqa: ANN401
    from charrnn.reports.progress import report_to
    from charrnn.training import event

    finished: event.Finished | None = None
    with report_to(sys.stderr, quiet=quiet, sample=_short_sample if sample else None) as report:
        for happened in trainer.run(request):
            report.show(happened)
            if isinstance(happened, event.Finished):
                finished = happened
    if finished is None:
        raise RuntimeError("the run yielded no end")
    return finished


def _short_sample(evaluated: "event.Evaluated") -> str:
    """A few lines by the model as it is now, always from the same seed so that progress shows."""
    from charrnn.inference.engine import open_engine
    from charrnn.inference.language_model import LanguageModel

    file = evaluated.model
    engine = open_engine(file.settings, file.weights, num_threads=1)
    model = LanguageModel(file.settings, file.vocab, engine=engine)
    return model.sample(length=160, temperature=0.8, seed=0)[0]


def _conclude(finished: "event.Finished", directory: Path, shape: ModelSettings, *, quiet: bool, as_json: bool) -> None:
    from charrnn.reports.summary import run_summary
    from charrnn.reports.terminal import write_result

    if as_json:
        result = {
            "run": str(directory),
            "model": str(directory / "model.safetensors"),
            "reason": finished.reason,
            "step": finished.step,
            "best_step": finished.best_step,
            "seconds": round(finished.seconds, 1),
            "shape": describe(shape),
            "num_parameters": shape.num_parameters,
            **finished.best.to_json(),
        }
        write_result(json.dumps(result) + "\n")
    elif quiet:
        write_result(f"{directory / 'model.safetensors'}\n")
    else:
        write_result(run_summary(finished, directory, describe(shape), num_parameters=shape.num_parameters))
