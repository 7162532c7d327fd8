"""The state of a run between two updates, in one file."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.files import write_atomically
from charrnn.storage.container import TensorEntry, check_entries, from_bytes, read_bytes, to_bytes
from charrnn.storage.upgrade import upgraded_tensors, upgraded_training


@dataclass(frozen=True)
class TrainingFile:
    """A run's tensors and facts.

    Attributes:
        tensors: arrays by name.
        facts: plain JSON values.
    """

    tensors: dict[str, NDArray[Any]]
    facts: dict[str, Any]

    def check(self, path: Path, expected: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        """Makes sure that the tensors are just those expected, and finite.

        Args:
            path: what to call the file.
            expected: (dtype, shape) by name.

        Raises:
            InputError: they are not.
        """
        entries = {name: TensorEntry(a.dtype.name, a.shape, 0, a.nbytes) for name, a in self.tensors.items()}
        try:
            check_entries(entries, expected)
        except InputError as error:
            raise InputError(f"{str(path)!r} does not fit its own settings: {error}") from error
        wrong = [name for name, a in self.tensors.items() if not np.isfinite(a).all()]
        if wrong:
            raise InputError(f"{str(path)!r} holds values that are not finite ({wrong[0]}); start a new run")


def write_training(path: Path, file: TrainingFile) -> None:
    """Writes ``file`` so that ``path`` is whole at any instant.

    Raises:
        OutputError: it could not be written; what was there before still is.
    """
    write_atomically(path, to_bytes(file.tensors, file.facts, kind="training"))


def require_training(path: Path) -> None:
    """Makes sure that there is a training state to go on from.

    Raises:
        InputError: there is none.
    """
    with suppress(OSError):  # a path that cannot be looked for fails when it is read
        if not path.exists():
            raise InputError(
                f"{str(path.parent)!r} has no run to resume ({path.name} is missing); name a run's directory"
            )


def read_training(path: Path) -> TrainingFile:
    """The training state at ``path``.

    Raises:
        InputError: there is none, or it is damaged.
    """
    require_training(path)
    container = from_bytes(read_bytes(path), kind="training", name=str(path))
    try:
        facts = upgraded_training(container.facts, container.version)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{str(path)!r} holds no usable training state: {str(error)[:300]}; start a new run"
        ) from error
    tensors = {name: container.array(name) for name in container.entries}
    return TrainingFile(upgraded_tensors(tensors, container.version), facts)
