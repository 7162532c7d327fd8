"""What a run learns from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from charrnn.models.settings import ModelSettings
from charrnn.text.corpus import TextFacts
from charrnn.text.settings import TextSettings
from charrnn.text.vocab import Vocab
from charrnn.training.settings import TrainingSettings


@dataclass(frozen=True)
class Task:
    """The text, its symbols, and the recipe.

    Attributes:
        train_ids: (N,) symbols learned from.
        held_out_ids: (M,) symbols scored.
        vocab: the symbols.
        text: what is kept of the text with the model.
        source: how to read it again; kept with the run alone.
        model: the network's shape.
        training: the recipe.
    """

    train_ids: np.ndarray
    held_out_ids: np.ndarray
    vocab: Vocab
    text: TextFacts
    source: TextSettings
    model: ModelSettings
    training: TrainingSettings

    def to_facts(self) -> dict[str, Any]:
        """Shape, recipe, symbols and text as plain values, named as in a checkpoint."""
        return {name: getattr(self, name).to_json() for name in ("model", "training", "vocab", "text")}
