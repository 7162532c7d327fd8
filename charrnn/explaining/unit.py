"""Units of a network that follow something a person can name, found by correlation.

For each feature of a text (``feature.py``) the unit is found whose values go along with it most closely, on the first
half of what is looked at. What is reported comes from the other half, which had no say in the choice: among thousands
of units and a dozen features some go along with each other by chance.

Legend: T steps, C units of all layers and parts, F features, N characters.

Source: Karpathy, Johnson and Li 2015, who found such units by eye.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Unit(NamedTuple):
    """One number among those that a network computes at each step.

    Attributes:
        layer: from 0.
        part: "hidden", "cell", or a gate's name.
        number: within the layer, from 0.
    """

    layer: int
    part: str
    number: int

    def __str__(self) -> str:
        """Such as "cell 17 of layer 1": layers counted from 1, as people do."""
        kind = self.part if self.part in ("hidden", "cell") else f"{self.part} gate"
        return f"{kind} {self.number} of layer {self.layer + 1}"


class FoundUnit(NamedTuple):
    """A unit and the feature that it follows.

    Attributes:
        unit: which.
        feature: the feature's name.
        found: correlation (Pearson; with a feature of two values it is the point-biserial one) where it was looked for.
        checked: correlation on the other half.
        accuracy: of telling a feature of two values by a threshold that was chosen where the unit was looked for:
            the mean of the shares of both values that are told rightly, on the other half; None for other features.
        num_checked: characters of the other half.
    """

    unit: Unit
    feature: str
    found: float
    checked: float
    accuracy: float | None
    num_checked: int


class Sums:
    """Sums from which correlations of all units with all features follow, in float64.

    Args:
        num_units: C.
        num_features: F.
    """

    def __init__(self, num_units: int, num_features: int) -> None:
        self.count = 0
        self._units = np.zeros((2, num_units))  # of values, and of their squares
        self._features = np.zeros((2, num_features))
        self._products = np.zeros((num_units, num_features))

    def add(self, values: Array, features: Array) -> None:
        """Adds some steps: values (T, C), features (T, F)."""
        values, features = values.astype(np.float64), features.astype(np.float64)
        self.count += len(values)
        self._units += values.sum(axis=0), (values * values).sum(axis=0)
        self._features += features.sum(axis=0), (features * features).sum(axis=0)
        self._products += values.T @ features

    def correlations(self) -> NDArray[np.float64]:
        """Pearson's r, (C, F); 0 where a unit or a feature does not vary."""
        n = max(self.count, 1)
        products = self._products / n - np.outer(self._units[0], self._features[0]) / n**2
        deviations = [np.sqrt(np.maximum(s[1] / n - (s[0] / n) ** 2, 0.0)) for s in (self._units, self._features)]
        scale = np.outer(*deviations)
        # Below this, what varies is the rounding of sums of float32 values.
        found: NDArray[np.float64] = np.divide(products, scale, out=np.zeros_like(products), where=scale > 1e-10)
        return found


def best_threshold(values: Array, is_true: Array, *, rises: bool) -> float:
    """The threshold that tells two sorts of values apart with the highest balanced accuracy.

    >>> best_threshold(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]), rises=True)
    0.5

    Args:
        values: (N,).
        is_true: (N,) the sort of each; both occur.
        rises: whether values above the threshold are of the true sort; else those below.
    """
    order = np.argsort(values, kind="stable")
    ordered, sort = np.asarray(values, np.float64)[order], is_true[order]
    below_true = np.cumsum(sort) / sort.sum()
    below_false = np.cumsum(~sort) / (~sort).sum()
    gain = below_false - below_true if rises else below_true - below_false
    can_cut = np.append(ordered[1:] > ordered[:-1], False)
    if not can_cut.any():
        return float(ordered[0])
    at = int(np.argmax(np.where(can_cut, gain, -np.inf)))
    return float((ordered[at] + ordered[at + 1]) / 2)


def balanced_accuracy(values: Array, is_true: Array, *, threshold: float, rises: bool) -> float:
    """The mean of the shares of both sorts that a threshold tells rightly."""
    told = (values > threshold) == rises
    return float((told[is_true].mean() + (~told[~is_true]).mean()) / 2)


def choose(correlations: Array, units: Sequence[Unit], *, least: float) -> list[tuple[int, int]]:
    """For each feature the unit that follows it most closely: one among states, one among gates.

    Args:
        correlations: (C, F).
        units: (C,) which they are.
        least: size of a correlation that is worth a word.

    Returns:
        Pairs of indices: of a unit, of a feature.
    """
    is_state = np.array([unit.part in ("hidden", "cell") for unit in units])
    found = []
    for feature in range(correlations.shape[1]):
        for group in (is_state, ~is_state):
            if group.any():
                size = np.where(group, np.abs(correlations[:, feature]), -1.0)
                best = int(np.argmax(size))
                if size[best] >= least:
                    found.append((best, feature))
    return found
