"""A mixture as arrays that a file holds, and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.models.mixture.predictor import Mixture, MixtureWeights
from charrnn.models.predictor import Predictor
from charrnn.models.shape import MixtureSettings, Shape
from charrnn.models.tree import Tree

Array = NDArray[Any]


def to_arrays(members: Sequence[Mapping[str, Array]], cuts: Array, weights: MixtureWeights) -> dict[str, Array]:
    """Arrays named and shaped as ``MixtureSettings.tensors`` says, from those of its members."""
    found = {"cuts": cuts, **{f"mixer.{name}": part for name, part in weights._asdict().items()}}
    for number, member in enumerate(members):
        found |= {f"member.{number}.{name}": array for name, array in member.items()}
    return found


def open_mixture(
    settings: MixtureSettings,
    arrays: Mapping[str, Array],
    *,
    open_member: Callable[[Shape, Mapping[str, Array]], Predictor],
    learns: bool = False,
) -> Mixture:
    """The mixture in arrays, ready to predict.

    Args:
        settings: its shape.
        arrays: by the names of ``settings.tensors()``.
        open_member: gives the predictor of a member from its shape and arrays, which learns too if the mixture does.
        learns: whether its weights move with what it reads.

    Raises:
        InputError: the arrays hold what no mixture has.
    """
    try:
        tree = Tree(arrays["cuts"])
    except (ValueError, IndexError) as error:
        raise InputError("cuts make no tree") from error
    weights = MixtureWeights(*(np.array(arrays[f"mixer.{name}"]) for name in MixtureWeights._fields))
    members = []
    for number, member in enumerate(settings.members):
        start = f"member.{number}."
        own = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
        members.append(open_member(member, own))
    return Mixture(members, tree, weights, learns=learns)
