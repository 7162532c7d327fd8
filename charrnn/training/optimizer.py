"""AdamW with clipping and averaged weights, as one update that leaves weights alone when a gradient is not finite."""

import torch
from torch import Tensor

from charrnn.training.settings import TrainingSettings


class Optimizer:
    """The weights' update rule and what it remembers, by parameter name.

    An update whose gradient norm is not finite leaves weights and moments as they are. The check stays on the
    device, so a GPU is never waited for.

    Args:
        weights: parameters by name.
        settings: rates, clipping, averaging.

    Source: AdamW, Loshchilov & Hutter 2019; clipping by norm, Pascanu et al. 2013; averaging, Polyak & Juditsky 1992.
    """

    def __init__(self, weights: dict[str, Tensor], settings: TrainingSettings) -> None:
        self._settings = settings
        self._weights = weights
        matrices = [w for w in weights.values() if w.ndim > 1]
        vectors = [w for w in weights.values() if w.ndim == 1]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self._adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=0.0,
            betas=(settings.beta1, settings.beta2),
            fused=True,
        )
        self.averages = {name: w.detach().clone() for name, w in weights.items()}
        for w in weights.values():
            self._adamw.state[w] = {
                "step": torch.zeros((), device=w.device),
                "exp_avg": torch.zeros_like(w),
                "exp_avg_sq": torch.zeros_like(w),
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
        gradients = [w.grad for w in self._weights.values() if w.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        skip = (~torch.isfinite(norm)).to(torch.float32)
        # The fused kernel divides gradients by grad_scale and does nothing where found_inf is 1.
        self._adamw.grad_scale = (norm / self._settings.grad_clip).clamp(min=1.0)  # type: ignore[attr-defined]
        self._adamw.found_inf = skip  # type: ignore[attr-defined]
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        if self._settings.averaging > 0:
            weight = 1 / (1 + self._settings.averaging * step)
            averages, weights = list(self.averages.values()), [w.detach() for w in self._weights.values()]
            torch._foreach_lerp_(averages, weights, weight)
        else:
            for name, w in self._weights.items():
                self.averages[name].copy_(w)
        return norm

    def state(self) -> dict[str, Tensor]:
        """Averages, moments and update counts, by "<kind>/<parameter name>"."""
        found: dict[str, Tensor] = {}
        for name, w in self._weights.items():
            moments = self._adamw.state[w]
            found[f"average/{name}"] = self.averages[name]
            found[f"mean/{name}"] = moments["exp_avg"]
            found[f"square/{name}"] = moments["exp_avg_sq"]
            found[f"updates/{name}"] = moments["step"]
        return found

    @torch.no_grad()
    def set_state(self, state: dict[str, Tensor]) -> None:
        """Restores what ``state`` gave."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
