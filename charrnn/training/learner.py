"""One update after the other: a window in, new weights out. Knows no clock, no file and no terminal.

Legend: T time steps, B streams, V vocabulary.

    window of Streams -> model(inputs, state) -> cross-entropy -> backward -> Optimizer.update -> next window
                                 ^ state, gradient cut ---------------------------------'

All randomness is a function of (seed, step): weights of the seed, window offsets of (seed, epoch), dropout of
(seed, step). So a run is resumed by its tensors and one integer.
"""

import hashlib
import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from charrnn.models.cells import State
from charrnn.models.native.gradients import WindowGradients, suits
from charrnn.models.network import CharRNN
from charrnn.text.stream import Streams
from charrnn.training.device import Placement
from charrnn.training.optimizer import Optimizer
from charrnn.training.settings import UNCHANGED, Pace, learning_rate_at
from charrnn.training.task import Task
from charrnn.training.world import World

_RESTARTS = 1  # makes the draws of restarts differ from others of the same seed


class Update(NamedTuple):
    """What one update was.

    Attributes:
        loss: mean nats per symbol of the window, a float64 scalar on the device.
        gradient_norm: before clipping, a scalar on the device; where it is not finite nothing was applied.
        learning_rate: of the update.
    """

    loss: Tensor
    gradient_norm: Tensor
    learning_rate: float


class Learner:
    """A network, its optimizer, and where it stands in the text.

    Args:
        task: what is learned and how.
        placement: device and backend.
        weights: weights to start from, by name; None for fresh ones.
        world: the processes that share the run.

    Attributes:
        step: updates made so far.
    """

    def __init__(self, task: Task, *, placement: Placement, weights: Mapping[str, Tensor] | None, world: World) -> None:
        settings = task.training
        self.step = 0
        self._settings = settings
        self._placement = placement
        self._world = world
        self._columns = world.columns(settings.batch_size)
        self._streams = Streams(task.train_ids, settings.batch_size, settings.bptt, settings.seed)
        self._model = CharRNN(
            task.model, placement.backend, dropout=settings.dropout, weight_dropout=settings.weight_dropout
        ).to(placement.device)
        self._model.initialize(settings.seed)
        self._weights = list(self._model.weights().values())
        self._by_kernels = self._kernel_gradients()
        if weights is not None:
            self._model.set_weights(weights)
        native_threads = placement.backend.num_threads if placement.backend.path == "native" else None
        self._optimizer = Optimizer(self._model.weights(), settings, native_threads=native_threads)
        self._state = self._zero_state()
        self._interval = torch.zeros(2, dtype=torch.float64, device=placement.device)  # sum of losses, count
        self._averaged = CharRNN(task.model, placement.backend).to(placement.device).requires_grad_(False).eval()

    @property
    def windows_per_epoch(self) -> int:
        """Updates that one pass over the text takes."""
        return self._streams.windows_per_epoch

    @property
    def symbols_per_update(self) -> int:
        """Symbols that one update learns from."""
        return self._streams.batch_size * self._streams.bptt

    def update(self, *, num_steps: int | None, pace: Pace = UNCHANGED) -> Update:
        """Learns from the next window.

        Args:
            num_steps: updates in the whole run, which the rate depends on; None while it is not known.
            pace: where that number was last changed.
        """
        settings, device = self._settings, self._placement.device
        window = self._streams.window(self.step)
        mine = self._columns
        inputs = torch.from_numpy(window.inputs[:, mine]).to(device, non_blocking=True)  # (T, B)
        targets = torch.from_numpy(window.targets[:, mine]).to(device, non_blocking=True)
        if window.starts_epoch:
            self._state = self._zero_state()
        elif settings.restart > 0:
            goes_on = np.random.default_rng((settings.seed, self.step, _RESTARTS)).random(settings.batch_size)
            kept = torch.from_numpy(goes_on[mine] >= settings.restart)[:, None].to(device)  # (B, 1)
            self._state = self._state.map(lambda part: torch.where(kept, part, 0.0))
        noise = _mixed(settings.seed, self.step, self._world.rank)
        loss, state = self._set_gradients(inputs, targets, noise)
        self._world.average([loss, *(weight.grad for weight in self._weights if weight.grad is not None)])
        rate = learning_rate_at(self.step, settings, num_steps=num_steps, pace=pace)
        norm = self._optimizer.update(rate, step=self.step)
        # A state that is not finite would spoil every later window: such streams start again from zero.
        finite = torch.isfinite(norm)
        self._state = state.map(lambda part: torch.where(finite, part.float(), 0.0))
        self.step += 1
        loss = loss.double()
        counted = torch.isfinite(loss)
        self._interval += torch.stack([torch.where(counted, loss, 0.0), counted.double()])
        return Update(loss, norm, rate)

    def _set_gradients(self, inputs: Tensor, targets: Tensor, noise: int) -> tuple[Tensor, State]:
        """Gives the weights the gradients of a window's loss; returns it and the state after the window."""
        if self._by_kernels is not None:
            return self._by_kernels.run(inputs, targets, self._state, noise=noise)
        reduced = torch.autocast(inputs.device.type, torch.bfloat16) if self._placement.autocast else nullcontext()
        with reduced:
            loss, state = self._model.loss(inputs, targets, self._state, noise=noise)
        for weight in self._weights:
            weight.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), state.map(Tensor.detach)

    def take_mean_loss(self) -> float:
        """Mean training loss in nats per symbol since the last call; nan where no update had a finite one."""
        total, count = self._interval.tolist()
        self._interval.zero_()
        return total / count if count else math.nan

    def averaged(self) -> CharRNN:
        """The network of averaged weights, what is evaluated and kept; it stays as it is until this is called again.

        Matrices are rounded to half precision, because a stream that is drawn symbol by symbol waits for its weights to
        be read. In seven trained networks, of 256 to 768 units and three cells, the loss moved by less than 1e-5 nats.
        """
        self._averaged.set_weights({name: _rounded(w) for name, w in self._optimizer.averages.items()})
        return self._averaged

    def averaged_weights(self) -> dict[str, np.ndarray]:
        """Copies of the weights of ``averaged``, by name."""
        return {name: _copied(w.float()) for name, w in self.averaged().weights().items()}

    def tensors(self) -> dict[str, np.ndarray]:
        """Copies of all that the next update depends on, by name; gathered from all processes, so called by all."""
        found = {f"weight/{name}": w for name, w in self._model.weights().items()} | self._optimizer.state()
        for name, part in zip(self._model.settings.recurrent_cell.states, self._state, strict=True):
            found[f"state/{name}"] = self._world.gather(part, dim=1)  # (L, B, H) of all streams
        found["interval"] = self._interval
        return {name: _copied(tensor) for name, tensor in found.items()}

    @torch.no_grad()
    def restore(self, arrays: Mapping[str, np.ndarray], *, step: int) -> None:
        """Goes back to what ``tensors`` gave after ``step`` updates."""
        tensors = {name: torch.tensor(array) for name, array in arrays.items()}
        self._model.set_weights({name: tensors[f"weight/{name}"] for name in self._model.weights()})
        self._optimizer.set_state(tensors)
        self._state = State(
            tensors[f"state/{name}"][:, self._columns].contiguous().to(self._placement.device)
            for name in self._model.settings.recurrent_cell.states
        )
        self._interval.copy_(tensors["interval"])
        self.step = step

    def _kernel_gradients(self) -> WindowGradients | None:
        """What computes gradients without torch, where it can be had; the weights have its arrays as theirs."""
        model, settings, backend = self._model, self._settings, self._placement.backend
        if not suits(model.settings, backend):
            return None
        weights = {name: weight.detach() for name, weight in model.weights().items()}
        dropouts = {"dropout": settings.dropout, "weight_dropout": settings.weight_dropout}
        shape = settings.bptt, self._columns.stop - self._columns.start
        found = WindowGradients(model.settings, weights, backend, **dropouts, window_shape=shape)
        for name, weight in model.weights().items():
            weight.grad = found.gradients[name]
        return found

    def _zero_state(self) -> State:
        return self._model.zero_state(self._columns.stop - self._columns.start)


def _rounded(weight: Tensor) -> Tensor:
    """A matrix rounded to half precision, unless that cannot hold it; a vector as it is."""
    rounded = weight.half().to(weight.dtype)
    return rounded if weight.ndim > 1 and bool(rounded.isfinite().all()) else weight


def _copied(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().numpy().copy()
    return array


def _mixed(seed: int, step: int, rank: int) -> int:
    """A 63-bit seed of its own for every (seed, step, rank)."""
    digest = hashlib.blake2b(f"{seed}/{step}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
