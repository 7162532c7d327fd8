"""What all networks with weights that stay as they are have in common as predictors: their states are numbers.

Legend: B streams, H hidden units, L layers, M numbers in a state.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.models.cells import State
from charrnn.models.predictor import Predictor

Array = NDArray[Any]


class RecurrentPredictor(Predictor):
    """A predictor whose state is arrays (L, B, H) of numpy."""

    @abstractmethod
    def zero_state(self, num_streams: int) -> State:
        """The state at the start of a text."""

    @property
    def compares(self) -> bool:
        """Whether states of streams that read the same come to be the same, within rounding."""
        return True

    def rows_of(self, state: State) -> Array:
        """All numbers that a state holds of each stream, (B, M)."""
        return np.concatenate([part.swapaxes(0, 1).reshape(part.shape[1], -1) for part in state], axis=1)

    def state_of(self, rows: Array) -> State:
        """The state that ``rows_of`` gave (B, M) for."""
        zero = self.zero_state(1)
        parts = rows.reshape(len(rows), len(zero), zero[0].shape[0], -1)  # (B, number of arrays, L, H)
        return State(np.ascontiguousarray(part) for part in parts.transpose(1, 2, 0, 3))
