"""The best model of a run by held-out loss, and its file."""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from charrnn.storage.model_file import ModelFile, write_model
from charrnn.storage.run_files import MODEL_NAME
from charrnn.training import event
from charrnn.training.saving import Saver
from charrnn.units import Score

_WHAT = "the model"


class Keeper:
    """Keeps the best model so far in ``model.safetensors``.

    A model that could not be written is tried again at each evaluation and at the end.

    Args:
        directory: of the run.
        saver: writes.

    Attributes:
        best: held-out score of the best model; None before the first.
        best_step: the step it was reached at.
        num_without_better: evaluations since.
        stored: (best, best_step) of the model that the file holds.
    """

    def __init__(self, directory: Path, saver: Saver) -> None:
        self.path = directory / MODEL_NAME
        self.best: Score | None = None
        self.best_step = 0
        self.num_without_better = 0
        self.stored: tuple[Score | None, int] = (None, 0)
        self._saver = saver
        self._unstored: ModelFile | None = None

    def restore(self, *, best: Score | None, best_step: int, num_without_better: int) -> None:
        """Goes on with what was known when the run stopped."""
        self.best, self.best_step = self.stored = best, best_step
        self.num_without_better = num_without_better

    def take(self, model: ModelFile, score: Score, *, step: int) -> bool:
        """Whether this model is better than all before it; if so it is the one to store.

        Args:
            model: as it was evaluated.
            score: on held-out text, finite.
            step: updates made.
        """
        lowest = math.inf if self.best is None else self.best.nats_per_char
        if score.nats_per_char >= lowest:
            self.num_without_better += 1
            return False
        self.num_without_better = 0
        self.best, self.best_step, self._unstored = score, step, model
        return True

    def store(self, *, step: int, is_last: bool = False) -> Iterator[event.Event]:
        """Writes the best model if the file holds another."""
        model = self._unstored
        if model is None:
            return
        yield from self.write(model, step=step, is_last=is_last)
        if not self._saver.has_failed(_WHAT):
            self._unstored, self.stored = None, (self.best, self.best_step)

    @property
    def is_stored(self) -> bool:
        """Whether the file holds the best model."""
        return self.best is not None and self._unstored is None

    def rescore(self, model: ModelFile, score: Score, *, step: int) -> Iterator[event.Event]:
        """Gives the best model another score, of more text or in higher precision, and writes it."""
        self.best = score
        yield from self.write(with_score(model, score), step=step, is_last=True)

    def write(self, model: ModelFile, *, step: int, is_last: bool = False) -> Iterator[event.Event]:
        """Writes a model, the best or not."""
        yield from self._saver.attempt(lambda: write_model(self.path, model), _WHAT, step=step, is_last=is_last)


def with_score(model: ModelFile, score: Score) -> ModelFile:
    """The model with its held-out score among its facts."""
    return replace(model, facts={**model.facts, "held_out": {**asdict(score), "nats_per_char": score.nats_per_char}})
