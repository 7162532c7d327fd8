"""All that a run needs to go on as if it had never stopped, to and from training.safetensors."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.errors import InputError, SettingsError
from charrnn.models.settings import ModelSettings
from charrnn.storage.training_file import TrainingFile, read_training, write_training
from charrnn.text.vocab import Vocab
from charrnn.training.settings import TrainingSettings
from charrnn.units import Score

TRAINING_NAME = "training.safetensors"


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
    except (KeyError, TypeError, ValueError, SettingsError) as error:
        raise InputError(f"{path} holds training facts that do not fit together: {error}") from error
    file.check(path, checkpoint.expected())
    return checkpoint


def _from_facts(facts: Mapping[str, Any], tensors: dict[str, np.ndarray]) -> Checkpoint:
    counts = {name: facts[name] for name in _COUNTS}
    counts["num_steps"] = facts["num_steps"]
    for name, value in counts.items():
        if not (type(value) is int and value >= 0) and not (name == "num_steps" and value is None):
            raise ValueError(f"{name} is {value!r}")
    for name in ("corpus", "computed_by"):
        if type(facts[name]) is not dict:
            raise ValueError(f"{name} is {facts[name]!r}")
    return Checkpoint(
        tensors=tensors,
        model=ModelSettings.from_json(facts["model"]),
        training=TrainingSettings.from_json(facts["training"]),
        vocab=Vocab.from_json(facts["vocab"]),
        corpus=facts["corpus"],
        best=None if facts["best"] is None else Score(**facts["best"]),
        computed_by=facts["computed_by"],
        **counts,
    )
