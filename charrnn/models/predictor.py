"""The contract of everything that predicts: symbols and a state in, distributions and a state out.

A predictor gives the distribution of the next symbol for several streams at once and moves on by the symbols that came.
What it remembers of them is its state, which is passed in and given back; nothing is kept. Whatever a predictor learns
from the symbols it has read is part of its state too. Sampling, scoring and ranking know this contract alone.

Legend: T time steps, B streams, V symbols.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from charrnn.models.sampling import choose
from charrnn.models.settings import SamplingSettings
from charrnn.text.utf8 import ALLOWED, TRANSITIONS

Array = NDArray[Any]


class StreamState(Protocol):
    """What a predictor remembers of each stream."""

    def of_streams(self, streams: Any) -> Self:  # noqa: ANN401 - whatever numpy takes as an index
        """The state of some streams, by index; an index may come twice."""


class OneStreamState:
    """A state that is of one stream alone, because it holds what the predictor has learned from it."""

    def of_streams(self, streams: Any) -> Self:  # noqa: ANN401 - whatever numpy takes as an index
        """The state of the one stream.

        Raises:
            ValueError: another number of streams is asked for.
        """
        require_one_stream(np.zeros(1)[streams].shape)
        return self


def require_one_stream(shape: tuple[int, ...]) -> None:
    """Makes sure that there is one stream.

    Args:
        shape: (B,).

    Raises:
        ValueError: there is another number of them.
    """
    if shape != (1,):
        raise ValueError("dynamic evaluation reads one stream at a time")


class Generated(NamedTuple):
    """Symbols drawn, and what is needed to draw on.

    Attributes:
        ids: (T, B) symbols drawn.
        state: the state before the last row of ids is read.
        marks: (B,) states of the UTF-8 automaton after the last row; None where symbols are not bytes.
    """

    ids: NDArray[np.intp]
    state: Any
    marks: Array | None


class Predictor(ABC):
    """Something that predicts the next symbol. ``zero_state`` and ``step`` are enough; the rest follows from them.

    A stream's numbers depend on that stream alone, whatever is beside it: within rounding, and where a stored model is
    opened its steps to the last bit, so that a text that is written does not depend on how many are.
    """

    @property
    @abstractmethod
    def num_symbols(self) -> int:
        """V."""

    @abstractmethod
    def zero_state(self, num_streams: int) -> Any:  # noqa: ANN401 - a StreamState of the predictor's own
        """The state at the start of a text."""

    @abstractmethod
    def step(self, ids: Array, state: Any) -> tuple[Array, Any]:  # noqa: ANN401
        """Logits (B, V) of what follows ``ids`` (B,), and the state after reading them.

        Logits are log probabilities up to a number per stream.
        """

    def score(self, ids: Array, targets: Array, state: Any) -> tuple[Array, Any]:  # noqa: ANN401
        """-ln p(targets[t]), (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all."""
        nats = np.empty(ids.shape)
        for t, (row, target) in enumerate(zip(ids, targets, strict=True)):
            logits, state = self.step(row, state)
            nats[t] = nats_of(logits, target)
        return nats, state

    def generate(
        self,
        ids: Array,
        state: Any,  # noqa: ANN401
        *,
        uniforms: Array,
        sampling: SamplingSettings,
        marks: Array | None = None,
    ) -> Generated:
        """Symbols drawn one after the other, each the next one's input.

        Args:
            ids: (B,) symbols to read first.
            state: the state before reading them.
            uniforms: (T, B) numbers in [0, 1), one per draw.
            sampling: how to draw.
            marks: (B,) states of the UTF-8 automaton of ``text.utf8``; given, the V = 256 symbols are bytes, and bytes
                that cannot continue UTF-8 are not drawn.

        Raises:
            NonFiniteError: the predictor gives logits that are not finite.
        """
        drawn = np.empty(uniforms.shape, np.intp)
        for t, uniform in enumerate(uniforms):
            logits, state = self.step(ids, state)
            allowed = None if marks is None else ALLOWED[marks]
            ids = drawn[t] = choose(logits, uniform, sampling=sampling, allowed=allowed)
            if marks is not None:
                marks = TRANSITIONS[marks, ids]
        return Generated(drawn, state, marks)


def nats_of(logits: Array, targets: Array) -> NDArray[np.float64]:
    """-ln p of each row's target, in float64.

    Args:
        logits: (N, V) of any float type.
        targets: (N,) ids.
    """
    z = logits.astype(np.float64)
    greatest = z.max(axis=1)
    picked = z[np.arange(len(z)), targets]
    nats: NDArray[np.float64] = np.log(np.exp(z - greatest[:, None]).sum(axis=1)) + (greatest - picked)
    return nats
