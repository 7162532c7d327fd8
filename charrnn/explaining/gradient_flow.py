"""How far a gradient reaches back: the norm of dL_t/dh_(t-k) against k, layer by layer.

L_t = -ln p of the character after t. h_(t-k), and for cells that have one c_(t-k), is the state k steps before; the
gradient goes along every path from there to L_t. It is taken by automatic differentiation of the equations in
``models/cells.py`` in float64, so every cell has it.

Of a vanilla network, dh_t/dh_(t-k) is a product of k factors diag(1 - h^2) W_hh: where they shrink a vector it
vanishes, where they stretch it it explodes. An LSTM's cell has a way back through its forget gates alone.

Legend: T steps of a window, N windows, K steps back, L layers, H hidden units, G gates, V symbols.

Source: Hochreiter 1991; Bengio, Simard and Frasconi 1994; clipping by norm Pascanu, Mikolov and Bengio 2013.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.models.cells import input_table
from charrnn.models.settings import ModelSettings

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]

NUM_WINDOWS = 48
SCALES = (0.5, 1.0, 1.5, 2.0)
_UPDATE_WINDOWS = 16


@dataclass(frozen=True)
class Road:
    """The gradients that come along one sort of state of one layer.

    Attributes:
        layer: from 0.
        state: "hidden" or "cell".
        norms: (N, K + 1) norm of the gradient with respect to the state k = 0 ... K steps back, a row per window.
    """

    layer: int
    state: str
    norms: NDArray[np.float64]

    def quantile(self, share: float) -> NDArray[np.float64]:
        """(K + 1,) the norm that this share of the windows stays below."""
        found: NDArray[np.float64] = np.quantile(self.norms, share, axis=0)
        return found

    @property
    def factor_per_step(self) -> float:
        """By how much the median grows in a step, on average over all steps; 0 where it ends at nothing."""
        median = self.quantile(0.5)
        if len(median) < 2 or not median[0] or not median[-1]:
            return 0.0
        return float((median[-1] / median[0]) ** (1 / (len(median) - 1)))

    def share_after(self, steps: int) -> float:
        """The median that is left so many steps back, as a share of that at 0 steps."""
        median = self.quantile(0.5)
        return float(median[min(steps, len(median) - 1)] / median[0]) if median[0] else 0.0


class Update(NamedTuple):
    """What a recurrent matrix of another size does to an update.

    Attributes:
        scale: the trained recurrent matrices times this.
        loss: mean nats of the windows.
        factor_per_step: see ``Road``; of the top layer's hidden state.
        norm: of the gradient of all weights.
        clipped: the same after clipping.
    """

    scale: float
    loss: float
    factor_per_step: float
    norm: float
    clipped: float


@dataclass(frozen=True)
class GradientFlow:
    """How far gradients reach in a network.

    Attributes:
        reach: K.
        roads: by layer, and within it by state.
        updates: by scale of the recurrent matrix.
        grad_clip: largest norm that an update may have.
    """

    reach: int
    roads: tuple[Road, ...]
    updates: tuple[Update, ...]
    grad_clip: float


def gradient_flow(
    settings: ModelSettings,
    weights: Mapping[str, Array],
    ids: Array,
    *,
    reach: int,
    grad_clip: float,
    num_windows: int = NUM_WINDOWS,
    scales: Sequence[float] = SCALES,
) -> GradientFlow | None:
    """How far gradients reach while a network reads a text.

    Args:
        settings: shape of the network.
        weights: by the names of ``settings.parameter_shapes()``.
        ids: (M,) symbols of the text.
        reach: K; less where the text is short.
        grad_clip: largest norm that an update may have.
        num_windows: N, spread evenly over the text; fewer where it is short.
        scales: of the recurrent matrices, for ``updates``.

    Returns:
        None where the text has fewer than three symbols: nothing lies behind the first prediction.
    """
    reach = min(reach, len(ids) - 2)
    if reach < 1:
        return None
    windows = windows_of(ids, reach=reach, num_windows=num_windows)
    roads = _roads(settings, weights, windows, reach)
    few = windows[:, :: max(1, windows.shape[1] // _UPDATE_WINDOWS)]
    updates = tuple(_update(settings, weights, few, reach, scale, grad_clip) for scale in scales)
    return GradientFlow(reach, roads, updates, grad_clip)


def windows_of(ids: Array, *, reach: int, num_windows: int) -> NDArray[np.int64]:
    """Windows (T + 1, N) of a text, spread evenly: up to ``reach`` symbols to come into state, then ``reach`` + 2.

    The last symbol of each is predicted; the one before it is step t, and the first after coming into state t - K.
    """
    length = min(2 * reach + 2, len(ids))
    begins = np.unique(np.linspace(0, len(ids) - length, num_windows).astype(np.int64))
    found: NDArray[np.int64] = np.asarray(ids, np.int64)[begins[None] + np.arange(length)[:, None]]
    return found


def _roads(settings: ModelSettings, weights: Mapping[str, Array], windows: Array, reach: int) -> tuple[Road, ...]:
    import torch

    states, logits = _run(settings, _tensors(weights, 1.0), windows, reach)
    targets = torch.from_numpy(windows[-1])
    loss = torch.nn.functional.cross_entropy(logits[-1], targets, reduction="sum")  # of windows that do not meet
    flat = [part for step in states for layer in step for part in layer]
    norms = torch.stack([gradient.norm(dim=1) for gradient in torch.autograd.grad(loss, flat)])
    names = settings.recurrent_cell.states
    by_step = norms.numpy().reshape(reach + 1, settings.num_layers, len(names), -1)[::-1]  # k = 0 first
    return tuple(
        Road(layer, name, by_step[:, layer, index].T)
        for layer in range(settings.num_layers)
        for index, name in enumerate(names)
    )


def _update(
    settings: ModelSettings, weights: Mapping[str, Array], windows: Array, reach: int, scale: float, grad_clip: float
) -> Update:
    """The update that the last ``reach`` predictions of the windows ask for."""
    import torch

    tensors = _tensors(weights, scale)
    states, logits = _run(settings, tensors, windows, reach)
    targets = torch.from_numpy(windows[-reach:])
    loss = torch.nn.functional.cross_entropy(logits[-reach:].flatten(0, 1), targets.flatten())
    top = [step[-1][0] for step in states]
    last = torch.nn.functional.cross_entropy(logits[-1], targets[-1], reduction="sum")
    back = torch.autograd.grad(last, top, retain_graph=True)
    road = Road(settings.num_layers - 1, "hidden", torch.stack([each.norm(dim=1) for each in back[::-1]]).numpy().T)
    gradients = torch.autograd.grad(loss, list(tensors.values()))
    norm = float(torch.stack([gradient.norm() for gradient in gradients]).norm())
    return Update(scale, float(loss.detach()), road.factor_per_step, norm, min(norm, grad_clip))


def _tensors(weights: Mapping[str, Array], scale: float) -> "dict[str, Tensor]":
    """The weights in float64, the recurrent ones times ``scale``."""
    import torch

    found = {}
    for name, value in weights.items():
        factor = scale if name.endswith("weight_hh") else 1.0
        found[name] = torch.from_numpy(np.asarray(value, np.float64) * factor).requires_grad_()
    return found


def _run(
    settings: ModelSettings, w: "Mapping[str, Tensor]", windows: Array, reach: int
) -> "tuple[list[list[tuple[Tensor, ...]]], Tensor]":
    """Reads windows; gradients reach back to the first of the last K + 1 steps, which alone are given.

    Returns:
        The states after each step, by step, layer and name, each (N, H); and logits (K + 1, N, V).
    """
    import torch

    ids = torch.from_numpy(windows[:-1])
    shape = (ids.shape[1], settings.hidden_size)
    zeros = [tuple(torch.zeros(shape, dtype=torch.float64) for _ in settings.recurrent_cell.states)]
    with torch.no_grad():
        into_state, _ = _steps(settings, w, ids[: -(reach + 1)], zeros * settings.num_layers)
    before = into_state[-1] if into_state else zeros * settings.num_layers
    return _steps(settings, w, ids[-(reach + 1) :], before)


def _steps(
    settings: ModelSettings, w: "Mapping[str, Tensor]", ids: "Tensor", now: "list[tuple[Tensor, ...]]"
) -> "tuple[list[list[tuple[Tensor, ...]]], Tensor]":
    """The equations step by step from a state (by layer and name): states as in ``_run``; logits (T, N, V)."""
    import torch

    cell, zero = settings.recurrent_cell, torch.zeros((), dtype=torch.float64)
    table = input_table(w["layers.0.weight_ih"], w.get("layers.0.bias_ih"), w.get("embedding.weight"))  # (V, G*H)
    states: list[list[tuple[Tensor, ...]]] = []
    outputs: list[Tensor] = []
    for row in ids:
        x = table[row]
        after: list[tuple[Tensor, ...]] = []
        for layer, before in enumerate(now):
            if layer:
                bias = w.get(f"layers.{layer}.bias_ih", zero)
                x = after[-1][0] @ w[f"layers.{layer}.weight_ih"].T + bias
            bias_hh = w.get(f"layers.{layer}.bias_hh", zero)
            after.append(cell.step(x, before, w[f"layers.{layer}.weight_hh"], bias_hh, torch.tanh))
        now = after
        states.append(after)
        outputs.append(after[-1][0] @ w["output.weight"].T + w.get("output.bias", zero))
    return states, torch.stack(outputs) if outputs else zero
