"""From what a user asked for to a task to train on: texts opened, split and fitted, sizes chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charrnn.errors import InputError, SettingsError
from charrnn.models.layer import UNROLLED
from charrnn.models.network import CharRNN
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile, require_network
from charrnn.text.settings import TextSettings, is_stdin
from charrnn.text.stream import shrink_to_fit
from charrnn.text.vocab import Vocab
from charrnn.training.checkpoint import Checkpoint
from charrnn.training.recipe import recommend
from charrnn.training.task import Task
from charrnn.training.texts import open_texts


@dataclass(frozen=True)
class Prepared:
    """A task and what the user should know of how it came about.

    Attributes:
        task: what to train.
        notes: lines for the user.
        reason: why these sizes.
        weights: weights to start from, by name; None for fresh ones.
    """

    task: Task
    notes: tuple[str, ...]
    reason: str
    weights: dict[str, torch.Tensor] | None = None


def prepare(
    text: Mapping[str, Any],
    *,
    on_gpu: bool,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    init_from: ModelFile | None = None,
    num_processes: int = 1,
) -> Prepared:
    """A new task.

    Args:
        text: fields of TextSettings the user gave.
        on_gpu: whether a GPU computes.
        model: fields of ModelSettings the user gave.
        training: fields of TrainingSettings the user gave.
        init_from: a model to start from; it fixes the network's shape and the level.
        num_processes: processes that share the streams; a batch size that is chosen is a multiple of them.

    Raises:
        InputError: a text cannot be read or is too short.
        SettingsError: a given value is out of range, or contradicts ``init_from``.
    """
    if init_from is not None:
        model = _shape_of(init_from, model)
        text = {**text, "level": _level_of(init_from, text)}
        training = {**_noise_of(init_from), **training}
    source = TextSettings(**text)
    texts = open_texts(source, known=None if init_from is None else init_from.vocab)
    recipe = recommend(
        num_symbols=len(texts.train_ids), vocab_size=texts.vocab.size, on_gpu=on_gpu, model=model, training=training
    )
    notes = list(texts.notes)
    chosen = recipe.training
    batch_size, bptt = shrink_to_fit(len(texts.train_ids), chosen.batch_size, chosen.bptt)
    if "batch_size" not in training or batch_size < chosen.batch_size:
        batch_size = max(batch_size - batch_size % num_processes, num_processes)
    if (batch_size, bptt) != (chosen.batch_size, chosen.bptt):
        is_short = bptt != chosen.bptt or batch_size <= chosen.batch_size - num_processes
        why = (
            f"the text is short ({len(texts.train_ids):,} symbols to learn from)" if is_short else "to be shared evenly"
        )
        notes.append(f"{why}: batch size {chosen.batch_size} -> {batch_size}, bptt {chosen.bptt} -> {bptt}")
        chosen = replace(chosen, batch_size=batch_size, bptt=bptt)
    weights = None
    if init_from is not None:
        if "learning_rate" not in training:
            chosen = replace(chosen, learning_rate=chosen.learning_rate / 2)
        weights, kept = _carried_over(init_from, texts.vocab, recipe.model, chosen.seed)
        notes.append(kept)
    task = Task(texts.train_ids, texts.held_out_ids, texts.vocab, texts.facts, source.resolved(), recipe.model, chosen)
    return Prepared(task, tuple(notes), recipe.reason, weights)


def prepare_resume(checkpoint: Checkpoint, text: Mapping[str, Any] | None = None) -> Prepared:
    """The task of a run that goes on.

    Args:
        checkpoint: where it stopped.
        text: fields of TextSettings that name texts again which have moved or came from standard input; those left out
            are read where they were.

    Raises:
        InputError: the text is not the one the run began with.
        SettingsError: a held-out text is named for a run that had none.
    """
    given = text or {}
    if "val" in given and not checkpoint.source.val:
        raise SettingsError("`val`: this run held out the end of its text, not a text of its own; leave it out")
    source = replace(checkpoint.source, **given)
    for name, option in (("texts", ""), ("val", "--val ")):
        if name not in given:
            _require_texts(getattr(source, name), option=option)
    texts = open_texts(source, known=checkpoint.vocab)
    if texts.facts.fingerprint != checkpoint.text.fingerprint:
        raise InputError(
            f"the text has changed since this run began ({', '.join(texts.facts.names[:3])}); resume needs the same "
            f"text: name it, a separate held-out text with `val`, or start a new run with `init_from`"
        )
    if texts.vocab != checkpoint.vocab:
        raise InputError("the run does not know all symbols of its text; start a new run with `init_from`")
    task = Task(
        texts.train_ids,
        texts.held_out_ids,
        checkpoint.vocab,
        checkpoint.text,
        source.resolved(),
        checkpoint.model,
        checkpoint.training,
    )
    return Prepared(task, texts.notes, "as the run began")


def _require_texts(paths: Sequence[str], *, option: str) -> None:
    """Makes sure that the texts of a run are where it read them.

    Args:
        paths: of the texts; "-" is standard input.
        option: that names them, with a space after it; "" for none.

    Raises:
        InputError: one is not; the message says how to name it again.
    """
    if any(map(is_stdin, paths)):
        raise InputError(
            f"this run read {option}standard input; give it again: ... | charrnn train --resume RUN {option}-"
        )
    gone = [path for path in paths if not _is_there(path)]
    if gone:
        which = "it again where it is now" if len(paths) == 1 else f"all {len(paths)} texts again, in their order"
        raise InputError(
            f"{gone[0]!r}, a text of this run, is not there any more; name {which}: "
            f"charrnn train --resume RUN {' '.join([f'{option}TEXT'] * min(len(paths), 2))}"
            + (" ..." if len(paths) > 2 else "")
        )


def _is_there(path: str) -> bool:
    """Whether there is such a file or directory; also where it cannot be looked for, which reading it tells."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _shape_of(source: ModelFile, given: Mapping[str, Any]) -> dict[str, Any]:
    """The shape of ``source``, without its vocabulary."""
    shape = require_network(source, use="`init_from`").to_json()
    del shape["vocab_size"]
    if shape["input"] == "one-hot":
        del shape["embedding_size"]
    for name, value in given.items():
        has = shape.get(name, "none")
        if has != value:
            raise SettingsError(
                f"`{name}` is {value!r}, but the model to start from has {has!r}; "
                f"leave it out, or train without `init_from`"
            )
    return shape


def _noise_of(source: ModelFile) -> dict[str, Any]:
    """The dropout that the model to start from was trained with."""
    known = source.facts.get("training")
    return {name: known[name] for name in ("dropout", "weight_dropout") if isinstance(known, dict) and name in known}


def _level_of(source: ModelFile, given: Mapping[str, Any]) -> str:
    level: str = source.vocab.level
    if given.get("level", level) != level:
        raise SettingsError(
            f"`level` is {given['level']!r}, but the model to start from has {level!r}; "
            f"leave it out, or train without `init_from`"
        )
    return level


def _carried_over(
    source: ModelFile, vocab: Vocab, shape: ModelSettings, seed: int
) -> tuple[dict[str, torch.Tensor], str]:
    """Weights of ``source`` moved to a larger vocabulary, fresh where a symbol is new, and a line saying so."""
    fresh = CharRNN(shape, UNROLLED)
    fresh.initialize(seed)
    old_rows = torch.arange(source.vocab.size)
    new_rows = old_rows
    if vocab.level == "char":
        new_rows = torch.from_numpy(vocab.encode(source.vocab.symbols).astype(np.int64))
    weights = {name: weight.detach().clone() for name, weight in fresh.weights().items()}
    for name, weight in weights.items():
        old = torch.tensor(source.weights[name])
        if name == "layers.0.weight_ih" and shape.input == "one-hot":
            weight[:, new_rows] = old[:, old_rows]
        elif name in ("embedding.weight", "output.weight", "output.bias"):
            weight[new_rows] = old[old_rows]
        else:
            weight.copy_(old)
    added = vocab.size - source.vocab.size
    line = f"started from another model: {source.vocab.size} symbols kept, {added} added with fresh weights"
    if added:
        new = [symbol for symbol in vocab.symbols if symbol not in source.vocab.symbols]
        line += ": " + " ".join(ascii(symbol)[1:-1] for symbol in new[:20]) + (" ..." if added > 20 else "")
    return weights, line
