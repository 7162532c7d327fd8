"""All that a run needs to go on as if it had never stopped, to and from training.safetensors."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.errors import CharRNNError, InputError
from charrnn.models.settings import ModelSettings
from charrnn.storage.training_file import TRAINING_NAME, TrainingFile, read_training, write_training
from charrnn.text.vocab import Vocab
from charrnn.training.settings import TrainingSettings
from charrnn.units import Score

__all__ = ["TRAINING_NAME", "Checkpoint", "read_checkpoint", "write_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """A run between two updates.

    Attributes:
        tensors: weights, averages, moments, stream states and the loss since the last evaluation, by name.
        model: the network's shape.
        training: the recipe.
        vocab: the symbols.
        corpus: names, fingerprint, split of the text, and how to read it again.
        step: updates made.
        num_steps: updates in the whole run; None while a run given in minutes is not yet measured.
        eval_every: steps from one evaluation to the next; 0 while not planned.
        best: best held-out score so far; None before the first.
        best_step: the step of the best score.
        num_without_better: evaluations since.
        computed_by: torch, device, backend and threads, which bit-identity depends on.
    """

    tensors: dict[str, np.ndarray]
    model: ModelSettings
    training: TrainingSettings
    vocab: Vocab
    corpus: dict[str, Any]
    step: int
    num_steps: int | None
    eval_every: int
    best: Score | None
    best_step: int
    num_without_better: int
    computed_by: dict[str, Any]

    def expected(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The (dtype, shape) each tensor must have by the settings."""
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, shape in self.model.parameter_shapes().items():
            for kind in ("weight", "average", "mean", "square"):
                found[f"{kind}/{name}"] = ("float32", shape)
            found[f"updates/{name}"] = ("float32", ())
        layers, size, streams = self.model.num_layers, self.model.hidden_size, self.training.batch_size
        found["state/hidden"] = ("float32", (layers, streams, size))
        found["state/cell"] = ("float32", (layers if self.model.cell == "lstm" else 0, streams, size))
        found["interval"] = ("float64", (2,))
        return found


_COUNTS = ("step", "eval_every", "best_step", "num_without_better")


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes ``checkpoint`` so that ``path`` is whole at any instant.

    Raises:
        OutputError: it could not be written; what was there before still is.
    """
    facts = {
        "model": checkpoint.model.to_json(),
        "training": checkpoint.training.to_json(),
        "vocab": checkpoint.vocab.to_json(),
        "corpus": checkpoint.corpus,
        "num_steps": checkpoint.num_steps,
        "best": None if checkpoint.best is None else asdict(checkpoint.best),
        "computed_by": checkpoint.computed_by,
        **{name: getattr(checkpoint, name) for name in _COUNTS},
    }
    write_training(path, TrainingFile(checkpoint.tensors, facts))


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at ``path``, every value checked.

    Raises:
        InputError: it is missing, damaged, or not one of this version.
    """
    file = read_training(path)
    try:
        checkpoint = _from_facts(file.facts, file.tensors)
    except (KeyError, TypeError, ValueError, CharRNNError) as error:
        # What is wrong may quote the file, which may be hostile: no more of it than a line shows.
        raise InputError(
            f"{str(path)!r} holds training facts that do not fit together: {str(error)[:300]}; start a new run"
        ) from error
    file.check(path, checkpoint.expected())
    return checkpoint


def _from_facts(facts: Mapping[str, Any], tensors: dict[str, np.ndarray]) -> Checkpoint:
    counts = {name: _count(facts[name], name) for name in _COUNTS}
    num_steps = None if facts["num_steps"] is None else _count(facts["num_steps"], "num_steps")
    if num_steps is not None and not counts["eval_every"]:
        raise ValueError("eval_every is 0 in a run that is planned")
    corpus, computed_by = facts["corpus"], facts["computed_by"]
    _check_corpus(corpus)
    if type(computed_by) is not dict:
        raise ValueError(f"computed_by is {computed_by!r}")
    return Checkpoint(
        tensors=tensors,
        model=ModelSettings.from_json(facts["model"]),
        training=TrainingSettings.from_json(facts["training"]),
        vocab=Vocab.from_json(facts["vocab"]),
        corpus=corpus,
        best=None if facts["best"] is None else _score(facts["best"]),
        computed_by=computed_by,
        num_steps=num_steps,
        **counts,
    )


def _count(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{name} is {value!r}")
    return value


def _score(values: Mapping[str, Any]) -> Score:
    score = Score(**values)
    for name, value in asdict(score).items():
        if name.startswith("num_"):
            _count(value, name)
        elif type(value) not in (int, float) or not 0 <= value < math.inf:
            raise ValueError(f"{name} of the best score is {value!r}")
    return score


def _check_corpus(corpus: Any) -> None:  # noqa: ANN401 - any JSON value
    """Makes sure that the text can be looked for again by what is known of it."""
    source, names = corpus["source"], corpus["names"]
    lists = {"names": names, "paths": source["paths"], "val_paths": source["val_paths"]}
    for name, values in lists.items():
        if type(values) is not list or not all(type(value) is str for value in values):
            raise ValueError(f"the text's {name} are {values!r}")
    strings = {"fingerprint": corpus["fingerprint"], "level": source["level"], "encoding": source["encoding"]}
    for name, value in strings.items():
        if type(value) is not str:
            raise ValueError(f"the text's {name} is {value!r}")
    if not source["paths"] or source["level"] not in ("char", "byte"):
        raise ValueError(f"the text's level is {source['level']!r}, its paths {source['paths']!r}")
    if type(source["val_fraction"]) is not float or not 0 < source["val_fraction"] < 1:
        raise ValueError(f"the text's val_fraction is {source['val_fraction']!r}")
