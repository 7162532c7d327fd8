"""The fastest predictor of a stored model on this machine."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from charrnn.errors import SettingsError
from charrnn.machine import MAX_THREADS, num_cores
from charrnn.models.counts.settings import CountsSettings
from charrnn.models.native.build import library
from charrnn.models.native.dynamic import NativeDynamicNetwork
from charrnn.models.native.network import NativeNetwork
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.predictor import Predictor
from charrnn.models.settings import DynamicSettings, ModelSettings
from charrnn.models.shape import Shape

Weights = Mapping[str, NDArray[Any]]


def open_model(shape: Shape, weights: Weights, *, num_threads: int | None = None, learns: bool = False) -> Predictor:
    """A model of any form, ready to predict.

    Args:
        shape: of the model.
        weights: by the names of ``shape.tensors()``; left as they are.
        num_threads: as in ``open_network``.
        learns: whether it goes on learning from what it reads: a network its weights (dynamic evaluation), counts
            their counts, a mixture how far it trusts each of its members, which learn too. It then reads one stream.

    Raises:
        SettingsError: num_threads is out of range.
        InputError: the weights hold what no such model has.
    """
    if isinstance(shape, ModelSettings):
        if learns:
            return open_dynamic(shape, weights, num_threads=num_threads)
        return open_network(shape, weights, num_threads=num_threads)
    if isinstance(shape, CountsSettings):
        from charrnn.models.counts.predictor import Counts, GrowingCounts
        from charrnn.models.counts.stored import from_arrays

        tables, fixed = from_arrays(shape, weights)
        if learns:
            return GrowingCounts(tables, num_threads=num_threads)
        return Counts(tables.with_weights(fixed), num_threads=num_threads)
    from charrnn.models.mixture.predictor import Mixture
    from charrnn.models.mixture.stored import from_arrays as mixture_from_arrays

    tree, mixer, arrays = mixture_from_arrays(shape, weights)
    members = [
        open_model(member, own, num_threads=num_threads, learns=learns)
        for member, own in zip(shape.members, arrays, strict=True)
    ]
    return Mixture(members, tree, mixer, learns=learns)


def open_network(settings: ModelSettings, weights: Weights, *, num_threads: int | None = None) -> Predictor:
    """Compiled kernels where there are a library and a kernel of the cell, else the equations in numpy.

    Args:
        settings: shape of the model.
        weights: float32, by the names of ``settings.parameter_shapes()``.
        num_threads: CPU threads for many streams, 1 to 1024; none: as many as there are cores.

    Raises:
        SettingsError: num_threads is out of range.
    """
    num_threads = _checked(num_threads)
    if library() is None or not settings.recurrent_cell.kernel:
        return NumpyNetwork(settings, weights)
    return NativeNetwork(settings, weights, num_threads=num_threads)


def open_dynamic(
    settings: ModelSettings,
    weights: Mapping[str, NDArray[Any]],
    dynamic: DynamicSettings | None = None,
    *,
    num_threads: int | None = None,
) -> Predictor:
    """The network under dynamic evaluation: compiled kernels where there are some, else torch.

    Args:
        settings: shape of the model.
        weights: float32, by the names of ``settings.parameter_shapes()``.
        dynamic: how it learns; none: the defaults.
        num_threads: CPU threads, 1 to 1024; none: as many as there are cores.

    Raises:
        SettingsError: num_threads is out of range.
    """
    num_threads = _checked(num_threads)
    if library() is None or not settings.recurrent_cell.kernel:
        from charrnn.models.dynamic import DynamicNetwork

        return DynamicNetwork(settings, weights, dynamic)
    return NativeDynamicNetwork(settings, weights, dynamic, num_threads=num_threads)


def _checked(num_threads: int | None) -> int:
    num_threads = num_cores() if num_threads is None else num_threads
    if type(num_threads) is not int or not 1 <= num_threads <= MAX_THREADS:
        raise SettingsError(f"threads is {num_threads!r}; it must be a whole number from 1 to {MAX_THREADS:,}")
    return num_threads
