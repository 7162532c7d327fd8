"""A mixture as arrays that a file holds, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.models.mixture.predictor import MixtureWeights
from charrnn.models.shape import MixtureSettings
from charrnn.models.tree import Tree

Array = NDArray[Any]


def to_arrays(members: Sequence[Mapping[str, Array]], cuts: Array, weights: MixtureWeights) -> dict[str, Array]:
    """Arrays named and shaped as ``MixtureSettings.tensors`` says, from those of its members."""
    found = {"cuts": cuts, **{f"mixer.{name}": part for name, part in weights._asdict().items()}}
    for number, member in enumerate(members):
        found |= {f"member.{number}.{name}": array for name, array in member.items()}
    return found


def from_arrays(
    settings: MixtureSettings, arrays: Mapping[str, Array]
) -> tuple[Tree, MixtureWeights, list[dict[str, Array]]]:
    """The mixture in arrays: its decisions, its weights, and the arrays of each member.

    Raises:
        InputError: the arrays hold what no mixture has.
    """
    try:
        tree = Tree(arrays["cuts"])
    except ValueError as error:
        raise InputError("cuts make no tree") from error
    weights = MixtureWeights(*(np.array(arrays[f"mixer.{name}"]) for name in MixtureWeights._fields))
    members = []
    for number in range(len(settings.members)):
        start = f"member.{number}."
        members.append({name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)})
    return tree, weights, members
