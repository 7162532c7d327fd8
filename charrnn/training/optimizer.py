"""AdamW with clipping and averaged weights, as one update that leaves weights alone when a gradient is not finite."""

import math
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adamw import adamw  # the function: the class loads the compiler, which takes over a second

from charrnn.models.native.optimizer import Parameter, Updater
from charrnn.training.settings import TrainingSettings

_EPSILON = 1e-8


class _Moments(NamedTuple):
    """What AdamW remembers of one parameter."""

    mean: Tensor
    square: Tensor
    updates: Tensor  # their number, a scalar


class Optimizer:
    """The weights' update rule and what it remembers, by parameter name.

    An update whose gradient norm is not finite leaves weights and moments as they are. The check stays on the
    device, so a GPU is never waited for.

    Args:
        weights: parameters by name.
        settings: rates, clipping, averaging.
        native_threads: threads of the C kernel; None computes by torch.

    Source: AdamW, Loshchilov & Hutter 2019; clipping by norm, Pascanu et al. 2013; averaging, Polyak & Juditsky 1992.
    """

    def __init__(
        self, weights: dict[str, Tensor], settings: TrainingSettings, *, native_threads: int | None = None
    ) -> None:
        self._settings = settings
        self._native_threads = native_threads
        self._weights = weights
        self.averages = {name: w.detach().clone() for name, w in weights.items()}
        self._moments = {
            name: _Moments(torch.zeros_like(w), torch.zeros_like(w), torch.zeros((), device=w.device))
            for name, w in weights.items()
        }

    @torch.no_grad()
    def update(self, learning_rate: float, *, step: int) -> Tensor:
        """Applies the gradients held by the weights, unless their norm is not finite.

        Args:
            learning_rate: of this update.
            step: updates made before this one; sets how far the averages look back.

        Returns:
            The norm of the whole gradient before clipping, a scalar on the weights' device.
        """
        if self._native_threads is not None:
            return self._update_by_kernel(learning_rate, step=step)
        gradients = [w.grad for w in self._weights.values() if w.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        skip = (~torch.isfinite(norm)).to(torch.float32)
        # The fused kernel divides gradients by grad_scale and does nothing where found_inf is 1.
        scale = (norm / self._settings.grad_clip).clamp(min=1.0)
        for is_decayed in (True, False):  # matrices, then vectors
            named = {name: w for name, w in self._weights.items() if (w.ndim > 1) == is_decayed and w.grad is not None}
            moments = [self._moments[name] for name in named]
            adamw(
                list(named.values()),
                [w.grad for w in named.values() if w.grad is not None],
                [each.mean for each in moments],
                [each.square for each in moments],
                [],
                [each.updates for each in moments],
                fused=True,
                grad_scale=scale,
                found_inf=skip,
                amsgrad=False,
                maximize=False,
                beta1=self._settings.beta1,
                beta2=self._settings.beta2,
                lr=learning_rate,
                weight_decay=self._settings.weight_decay if is_decayed else 0.0,
                eps=_EPSILON,
            )
        averages, weights = list(self.averages.values()), [w.detach() for w in self._weights.values()]
        torch._foreach_lerp_(averages, weights, self._toward(step))
        return norm

    def _toward(self, step: int) -> float:
        """How far the averages move to the weights after ``step`` updates."""
        return 1 / (1 + self._settings.averaging * step)

    def _update_by_kernel(self, learning_rate: float, *, step: int) -> Tensor:
        gradients = []
        for name, w in self._weights.items():
            if w.grad is None:
                raise RuntimeError(f"{name} has no gradient")
            gradients.append(w.grad)
        counts = [moments.updates for moments in self._moments.values()]
        num_updates = 1 + int(counts[0])
        norm = self._updater.update(gradients, rate=learning_rate, num_updates=num_updates, toward=self._toward(step))
        if math.isfinite(norm):
            torch._foreach_add_(counts, 1)
        return torch.tensor(norm)

    @cached_property
    def _updater(self) -> Updater:
        settings = self._settings
        return Updater(
            [
                Parameter(
                    w,
                    self._moments[name].mean,
                    self._moments[name].square,
                    self.averages[name],
                    settings.weight_decay if w.ndim > 1 else 0.0,
                )
                for name, w in self._weights.items()
            ],
            betas=(settings.beta1, settings.beta2),
            epsilon=_EPSILON,
            clip=settings.grad_clip,
            num_threads=self._native_threads or 1,
        )

    def state(self) -> dict[str, Tensor]:
        """Averages, moments and update counts, by "<kind>/<parameter name>"."""
        found: dict[str, Tensor] = {}
        for name in self._weights:
            moments = self._moments[name]
            found[f"average/{name}"] = self.averages[name]
            found[f"mean/{name}"] = moments.mean
            found[f"square/{name}"] = moments.square
            found[f"updates/{name}"] = moments.updates
        return found

    @torch.no_grad()
    def set_state(self, state: dict[str, Tensor]) -> None:
        """Restores what ``state`` gave."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
