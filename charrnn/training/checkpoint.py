"""All that a run needs to go on as if it had never stopped, to and from training.safetensors."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.errors import CharRNNError, InputError
from charrnn.models.settings import ModelSettings
from charrnn.storage.training_file import TrainingFile, read_training, write_training
from charrnn.text.corpus import TextFacts
from charrnn.text.settings import TextSettings
from charrnn.text.vocab import Vocab
from charrnn.training.settings import UNCHANGED, Pace, TrainingSettings
from charrnn.units import Score


@dataclass(frozen=True)
class Checkpoint:
    """A run between two updates.

    Attributes:
        tensors: weights, averages, moments, stream states and the loss since the last evaluation, by name.
        model: the network's shape.
        training: the recipe.
        vocab: the symbols.
        text: what is known of the text.
        source: how to read it again.
        step: updates made.
        num_steps: updates in the whole run; None while a run given in minutes is not yet measured.
        eval_every: steps from one evaluation to the next; 0 while not planned.
        pace: where the number of steps was last changed.
        best: best held-out score so far; None before the first.
        best_step: the step of the best score.
        num_without_better: evaluations since.
        computed_by: torch, device, backend and threads, which bit-identity depends on.
    """

    tensors: dict[str, np.ndarray]
    model: ModelSettings
    training: TrainingSettings
    vocab: Vocab
    text: TextFacts
    source: TextSettings
    step: int
    num_steps: int | None
    eval_every: int
    best: Score | None
    best_step: int
    num_without_better: int
    computed_by: dict[str, Any]
    pace: Pace = UNCHANGED

    def expected(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The (dtype, shape) each tensor must have by the settings."""
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, shape in self.model.parameter_shapes().items():
            for kind in ("weight", "average", "mean", "square"):
                found[f"{kind}/{name}"] = ("float32", shape)
            found[f"updates/{name}"] = ("float32", ())
        for name, shape in self.model.state_shapes(self.training.batch_size).items():
            found[f"state/{name}"] = ("float32", shape)
        found["interval"] = ("float64", (2,))
        return found

    def to_facts(self) -> dict[str, Any]:
        """All but the tensors, as plain values."""
        return {
            "model": self.model.to_json(),
            "training": self.training.to_json(),
            "vocab": self.vocab.to_json(),
            "text": self.text.to_json(),
            "source": self.source.to_json(),
            "num_steps": self.num_steps,
            "pace": self.pace._asdict(),
            "best": None if self.best is None else asdict(self.best),
            "computed_by": self.computed_by,
            **{name: getattr(self, name) for name in _COUNTS},
        }


_COUNTS = ("step", "eval_every", "best_step", "num_without_better")


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes ``checkpoint`` so that ``path`` is whole at any instant.

    Raises:
        OutputError: it could not be written; what was there before still is.
    """
    write_training(path, TrainingFile(checkpoint.tensors, checkpoint.to_facts()))


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
    computed_by = facts["computed_by"]
    source = TextSettings.from_json(facts["source"])
    if not source.texts:
        raise ValueError("no text is named")
    if type(computed_by) is not dict:
        raise ValueError(f"computed_by is {computed_by!r}")
    model, vocab = ModelSettings.from_json(facts["model"]), Vocab.from_json(facts["vocab"])
    if vocab.size != model.vocab_size:
        raise ValueError(f"the vocabulary has {vocab.size} symbols, the model {model.vocab_size}")
    return Checkpoint(
        tensors=tensors,
        model=model,
        training=TrainingSettings.from_json(facts["training"]),
        vocab=vocab,
        text=TextFacts.from_json(facts["text"]),
        source=source,
        best=None if facts["best"] is None else Score.from_sums(facts["best"]),
        computed_by=computed_by,
        num_steps=num_steps,
        pace=_pace(facts["pace"]) if "pace" in facts else UNCHANGED,  # before there was one, it was as if never changed
        **counts,
    )


def _pace(facts: Mapping[str, Any]) -> Pace:
    pace = Pace(_count(facts["step"], "step of the pace"), facts["done"])
    if type(pace.done) is not float or not 0 <= pace.done <= 1:
        raise ValueError(f"pace is {dict(facts)!r}")
    return pace


def _count(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{name} is {value!r}")
    return value
