"""The training loop: windows in, updates made, events out. It prints nothing.

Legend: T time steps, B streams, V vocabulary.

    window of Streams -> model(inputs, state) -> cross-entropy -> backward -> Optimizer.update -> next window
                                 ^ state, gradient cut ---------------------------------'
    now and then: evaluate the averaged weights -> model.safetensors if best -> training.safetensors

All randomness is a function of (seed, step): weights of the seed, window offsets of (seed, epoch), dropout of
(seed, step). So a run is resumed by its tensors and one integer.
"""

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from charrnn.errors import DeviceError, DivergedError, InputError, OutputError
from charrnn.models.char_rnn import CharRNN, State
from charrnn.models.settings import ModelSettings
from charrnn.storage.metrics import METRICS_NAME, MetricsLog
from charrnn.storage.model_file import MODEL_NAME, ModelFile, read_model, write_model
from charrnn.text.stream import Streams
from charrnn.text.vocab import Vocab
from charrnn.training import event
from charrnn.training.checkpoint import TRAINING_NAME, Checkpoint, write_checkpoint
from charrnn.training.device import Placement
from charrnn.training.evaluation import evaluate
from charrnn.training.optimizer import Optimizer
from charrnn.training.settings import TrainingSettings, learning_rate_at
from charrnn.training.world import ALONE, World
from charrnn.units import Score

MAX_EVALUATED = 131_072  # held-out symbols scored during a run; the rest is scored once, at its end
MAX_FINAL = 262_144
_MARGIN = 0.96  # of the time left that is planned for: machines slow down a little as they warm
_FLOAT32_COST = 3.0  # of the final score in float32, at most, as a multiple of one in bfloat16
_NUM_EVALUATIONS = 20
_EVALUATION_SHARE = 0.05  # of a run given in minutes
_SECONDS_BETWEEN_EVENTS = 0.1
_SECONDS_BETWEEN_SAVES = 30.0
_MAX_SKIPPED = 20  # updates in a row with non-finite gradients
_MAX_FAILED_SAVES = 3
_RESTARTS = 1  # sets the draws of restarts apart from others of the same seed


@dataclass(frozen=True)
class Task:
    """What is learned from: the text, its symbols, and the recipe.

    Attributes:
        train_ids: (N,) symbols learned from.
        held_out_ids: (M,) symbols scored.
        vocab: the symbols.
        corpus: the text's names, fingerprint and split, as plain JSON; kept in the model's facts.
        model: the network's shape.
        training: the recipe.
    """

    train_ids: np.ndarray
    held_out_ids: np.ndarray
    vocab: Vocab
    corpus: dict[str, Any]
    model: ModelSettings
    training: TrainingSettings


class Trainer:
    """One run in one directory.

    Args:
        task: what is learned and how.
        directory: the run's directory; exists and is locked by the caller.
        placement: device and backend.
        weights: weights to start from, by name; None for fresh ones.
        checkpoint: the state to go on from; None for a new run.
        world: the processes that share the run.
    """

    def __init__(
        self,
        task: Task,
        directory: Path,
        *,
        placement: Placement,
        weights: dict[str, torch.Tensor] | None = None,
        checkpoint: Checkpoint | None = None,
        world: World = ALONE,
    ) -> None:
        self._task = task
        self._world = world
        self._columns = world.columns(task.training.batch_size)
        self._settings = task.training
        self._directory = directory
        self._placement = placement
        self._streams = Streams(task.train_ids, task.training.batch_size, task.training.bptt, task.training.seed)
        self._model = CharRNN(task.model, placement.backend).to(placement.device)
        self._model.initialize(task.training.seed)
        if weights is not None:
            self._model.set_weights(weights)
        self._optimizer = Optimizer(self._model.weights(), task.training)
        self._averaged = CharRNN(task.model, placement.backend).to(placement.device).requires_grad_(False)
        self._state = self._zero_state()
        self._step = 0
        self._num_steps = task.training.steps
        self._eval_every = task.training.eval_every or 0
        if task.training.epochs is not None:
            self._num_steps = max(1, round(task.training.epochs * self._streams.windows_per_epoch))
        self._best: Score | None = None
        self._best_step = 0
        self._stored_best: tuple[Score | None, int] = (None, 0)  # as model.safetensors holds it
        self._unstored: ModelFile | None = None  # the best model, while it could not be written
        self._num_without_better = 0
        self._interval = torch.zeros(2, dtype=torch.float64, device=placement.device)  # sum of losses, count
        self._seconds_before = 0.0
        self._failed_saves: Counter[str] = Counter()  # in a row, by what could not be saved
        if checkpoint is not None:
            self._restore(checkpoint)
        # The averaged network computes with the optimizer's averages themselves.
        for name, weight in self._averaged.weights().items():
            weight.data = self._optimizer.averages[name]
        self._metrics: MetricsLog | None = None
        if world.is_first:
            self._metrics = MetricsLog(directory / METRICS_NAME, keep_until_step=self._step)
            self._seconds_before = self._metrics.last_number("seconds")

    @property
    def step(self) -> int:
        """Updates made so far."""
        return self._step

    @property
    def num_steps(self) -> int | None:
        """Updates in the whole run; None while not planned."""
        return self._num_steps

    def run(self, should_stop: Callable[[], bool]) -> Iterator[event.Event]:
        """Trains to the end of the plan, or until ``should_stop``, which is asked between updates.

        Yields:
            events, last of them Finished.

        Raises:
            DivergedError: gradients are not finite any more; the weights were never touched by one.
            DeviceError: the device is lost or out of memory.
            OutputError: nothing could be saved, several times in a row.
        """
        try:
            yield from self._run(should_stop)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"out of memory at step {self._step}; use a smaller --batch-size, --bptt or --hidden-size, "
                f"then train again or --resume"
            ) from error
        except torch.AcceleratorError as error:
            raise DeviceError(
                f"the device was lost at step {self._step} ({str(error).splitlines()[0]}); "
                f"go on from the last checkpoint with --resume"
            ) from error
        finally:
            if self._metrics is not None:
                self._metrics.close()

    def _run(self, should_stop: Callable[[], bool]) -> Iterator[event.Event]:
        self._started = time.monotonic()
        self._last_save = self._started
        step_seconds: list[float] = []
        last = self._started
        shown_step, shown_at = self._step, self._started
        shown_loss = torch.zeros((), dtype=torch.float64, device=self._placement.device)
        num_skipped = torch.zeros((), device=self._placement.device)
        if self._num_steps is not None:
            yield self._plan(self._num_steps)

        while self._num_steps is None or self._step < self._num_steps:
            loss, norm, rate = self._update()
            skipped = (~torch.isfinite(norm)).to(num_skipped.dtype)
            num_skipped = (num_skipped + skipped) * skipped
            shown_loss += loss
            now = time.monotonic()
            step_seconds.append(now - last)
            last = now
            if now - shown_at >= _SECONDS_BETWEEN_EVENTS or self._step == self._num_steps:
                num_shown = self._step - shown_step
                per_step = (now - shown_at) / num_shown
                left = math.nan if self._num_steps is None else (self._num_steps - self._step) * per_step
                yield event.Progressed(
                    step=self._step,
                    num_steps=self._num_steps,
                    nats=float(shown_loss) / num_shown,
                    learning_rate=rate,
                    gradient_norm=float(norm),
                    symbols_per_second=self._settings.batch_size * self._streams.bptt / per_step,
                    seconds=self._seconds(),
                    seconds_left=left,
                )
                if int(num_skipped) >= _MAX_SKIPPED:
                    raise DivergedError(
                        f"the gradient was not finite in {int(num_skipped)} updates in a row, up to step "
                        f"{self._step} (learning rate {rate:.3g}, norm {float(norm):.3g}); none was applied. "
                        f"Train again with a smaller --learning-rate, or --resume from the last checkpoint"
                    )
                shown_step, shown_loss = self._step, torch.zeros_like(shown_loss)
                shown_at = last = time.monotonic()

            # Signals and clocks differ between processes; what follows from them must not.
            stops, is_measured, is_save_due = self._world.any(
                should_stop(),
                self._num_steps is None and self._is_measured(step_seconds),
                self._num_steps is not None and time.monotonic() - self._last_save >= _SECONDS_BETWEEN_SAVES,
            )
            is_evaluated = self._num_steps is not None and self._is_time_to_evaluate()
            if is_evaluated:  # also where a stop was asked for: resumed, the run begins with the next update
                yield from self._evaluate()
                if self._num_without_better >= self._settings.patience:
                    break
            if stops:
                yield from self._stop()
                return
            if is_measured:
                yield from self._evaluate()
                yield self._plan_minutes(median(step_seconds[len(step_seconds) // 3 :]))
                yield from self._save()
                shown_step, shown_at = self._step, time.monotonic()
                shown_loss = torch.zeros_like(shown_loss)
            elif is_evaluated or is_save_due:
                yield from self._save()
            last = time.monotonic()
        reason = "end" if self._step == self._num_steps else "patience"
        yield from self._store_best()
        yield from self._score_best()
        yield from self._save()
        if self._best is None:
            raise DivergedError(
                "no held-out loss was ever finite, so there is no best model; use a smaller --learning-rate"
            )
        yield event.Finished(self._step, reason, self._best, self._best_step, self._seconds())

    def _update(self) -> tuple[torch.Tensor, torch.Tensor, float]:
        """One window: mean loss (scalar), gradient norm (scalar) and the learning rate."""
        settings, device = self._settings, self._placement.device
        window = self._streams.window(self._step)
        mine = self._columns
        inputs = torch.from_numpy(window.inputs[:, mine]).to(device, non_blocking=True)  # (T, B)
        targets = torch.from_numpy(window.targets[:, mine]).to(device, non_blocking=True)
        if window.starts_epoch:
            self._state = self._zero_state()
        elif settings.restart > 0:
            goes_on = np.random.default_rng((settings.seed, self._step, _RESTARTS)).random(settings.batch_size)
            kept = torch.from_numpy(goes_on[mine] >= settings.restart)[:, None].to(device)  # (B, 1)
            self._state = State(*(torch.where(kept, part, 0.0) for part in self._state))
        if self._task.model.dropout > 0 or self._task.model.weight_dropout > 0:
            torch.manual_seed(_mixed(settings.seed, self._step, self._world.rank))
        self._model.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=self._placement.autocast):
            logits, state = self._model(inputs, self._state)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        for weight in self._model.weights().values():
            weight.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        loss = loss.detach()
        gradients = (weight.grad for weight in self._model.weights().values())
        self._world.average([loss, *(gradient for gradient in gradients if gradient is not None)])
        rate = learning_rate_at(self._step, settings, num_steps=self._num_steps)
        norm = self._optimizer.update(rate, step=self._step)
        # A state that is not finite would spoil every later window: such streams start again from zero.
        finite = torch.isfinite(norm)
        self._state = State(*(torch.where(finite, part.float(), 0.0) for part in state.detach()))
        self._step += 1
        loss = loss.double()
        self._interval += torch.stack([loss, torch.ones_like(loss)])
        return loss, norm, rate

    def _zero_state(self) -> State:
        return self._model.zero_state(self._columns.stop - self._columns.start)

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _is_measured(self, step_seconds: list[float]) -> bool:
        budget = 60 * (self._settings.minutes or 0.0)
        return len(step_seconds) >= 10 and self._seconds() >= min(5.0, 0.05 * budget)

    def _plan(self, num_steps: int, *, seconds_per_step: float = 0.0) -> event.Planned:
        self._num_steps = num_steps
        if not self._eval_every:
            self._eval_every = max(1, math.ceil(num_steps / _NUM_EVALUATIONS))
        return event.Planned(num_steps, self._eval_every, seconds_per_step)

    def _plan_minutes(self, seconds_per_step: float) -> event.Planned:
        """Fixes the schedule in steps, leaving time for evaluations and the final score."""
        budget = 60 * (self._settings.minutes or 0.0)
        held_out = len(self._task.held_out_ids)
        evaluation = self._evaluation_seconds
        final = evaluation * max(1.0, min(held_out, MAX_FINAL) / MAX_EVALUATED)
        if self._placement.backend.precision == "bfloat16":
            final *= _FLOAT32_COST
        left = _MARGIN * (budget - self._seconds() - final)
        count = max(3, min(_NUM_EVALUATIONS, int(_EVALUATION_SHARE * left / evaluation)))
        if self._settings.eval_every is None:
            left -= count * evaluation
        num_steps = self._step + max(1, int(left / seconds_per_step))
        if not self._eval_every:
            self._eval_every = max(1, math.ceil((num_steps - self._step) / count))
        num_steps, self._eval_every = self._world.from_first([num_steps, self._eval_every])
        return self._plan(num_steps, seconds_per_step=seconds_per_step)

    def _is_time_to_evaluate(self) -> bool:
        return self._step == self._num_steps or self._step % self._eval_every == 0

    def _evaluate(self) -> Iterator[event.Event]:
        began = time.monotonic()
        score = self._score()
        self._evaluation_seconds = time.monotonic() - began
        lowest = math.inf if self._best is None else self._best.nats_per_char
        is_best = score.nats_per_char < lowest
        self._num_without_better = 0 if is_best else self._num_without_better + 1
        train_nats = float(self._interval[0] / self._interval[1]) if self._interval[1] else math.nan
        self._interval.zero_()
        model = self._model_file(score)
        line = {
            "event": "evaluated",
            "step": self._step,
            "train_nats": train_nats,
            "nats_per_char": score.nats_per_char,
            "bits_per_char": score.bits_per_char,
            "learning_rate": learning_rate_at(self._step, self._settings, num_steps=self._num_steps),
            "seconds": round(self._seconds(), 3),
        }
        if is_best:
            self._best, self._best_step, self._unstored = score, self._step, model
        yield from self._store_best()
        yield from self._append(line)
        yield event.Evaluated(self._step, score, train_nats, self._seconds(), is_best, model)

    def _score(self) -> Score:
        return evaluate(self._averaged, self._task.held_out_ids[:MAX_EVALUATED], self._task.vocab)

    def _model_file(self, score: Score) -> ModelFile:
        weights = {name: w.detach().float().cpu().numpy().copy() for name, w in self._optimizer.averages.items()}
        facts = {
            "held_out": {**asdict(score), "nats_per_char": score.nats_per_char},
            "step": self._step,
            # Where the text lies is the run's own business: a model is shared, its maker's paths are not.
            "corpus": {name: value for name, value in self._task.corpus.items() if name != "source"},
            "training": self._settings.to_json(),
        }
        return ModelFile(self._task.model, self._task.vocab, weights, facts)

    def _score_best(self) -> Iterator[event.Event]:
        """Scores the best model once more where scores during the run were of a part, or in reduced precision."""
        exact = replace(self._placement.backend, precision="float32")
        is_exact = exact == self._placement.backend and not self._placement.autocast
        if self._best is None or (is_exact and len(self._task.held_out_ids) <= MAX_EVALUATED):
            return
        if self._unstored is not None or not self._world.is_first:
            return  # what is stored is an older model, of which the warnings told; or another process sees to it
        try:
            best = read_model(self._directory / MODEL_NAME)
        except InputError as error:
            yield event.Warned(f"the best model could not be read again to be scored in full: {error}")
            return
        with torch.no_grad():
            network = CharRNN(best.settings, exact).to(self._placement.device)
            network.set_weights({name: torch.from_numpy(w) for name, w in best.weights.items()})
        score = evaluate(network, self._task.held_out_ids[:MAX_FINAL], self._task.vocab)
        self._best = score
        facts = {**best.facts, "held_out": {**asdict(score), "nats_per_char": score.nats_per_char}}
        model = replace(best, facts=facts)
        yield from self._attempt(lambda: write_model(self._directory / MODEL_NAME, model), "the model")

    def _stop(self) -> Iterator[event.Event]:
        score = self._best
        if score is None:
            # So that there is a model to look at. The run itself takes no notice, or resuming would not be exact.
            score = self._score()
            model = self._model_file(score)
            yield from self._attempt(lambda: write_model(self._directory / MODEL_NAME, model), "the model")
        yield from self._save()
        yield event.Finished(self._step, "stopped", score, self._best_step or self._step, self._seconds())

    def _store_best(self) -> Iterator[event.Event]:
        """Writes the best model; one that could not be written is tried again at each evaluation and at the end."""
        model = self._unstored
        if model is None:
            return
        yield from self._attempt(lambda: write_model(self._directory / MODEL_NAME, model), "the model")
        if not self._failed_saves["the model"]:
            self._unstored, self._stored_best = None, (self._best, self._best_step)

    def _save(self) -> Iterator[event.Event]:
        path, what = self._directory / TRAINING_NAME, "the training state"
        checkpoint = self._checkpoint()  # gathered from all processes, so by all
        yield from self._attempt(lambda: write_checkpoint(path, checkpoint), what)
        self._last_save = time.monotonic()
        if not self._failed_saves[what]:
            yield event.Saved(self._step, path)

    def _attempt(self, write: Callable[[], None], what: str) -> Iterator[event.Event]:
        if not self._world.is_first:
            return
        try:
            write()
            self._failed_saves[what] = 0
        except OutputError as error:
            self._failed_saves[what] += 1
            if self._failed_saves[what] >= _MAX_FAILED_SAVES:
                raise
            yield event.Warned(f"{what} could not be saved at step {self._step}: {error}; training goes on")

    def _append(self, line: dict[str, Any]) -> Iterator[event.Event]:
        if self._metrics is None:
            return
        try:
            self._metrics.append(line)
        except OutputError as error:
            yield event.Warned(f"{error}; training goes on without this log")

    def _checkpoint(self) -> Checkpoint:
        tensors = {f"weight/{name}": w for name, w in self._model.weights().items()}
        tensors |= self._optimizer.state()
        hidden, cell = (self._world.gather(part, dim=1) for part in self._state)  # (L, B, H) of all streams
        tensors |= {"state/hidden": hidden, "state/cell": cell, "interval": self._interval}
        return Checkpoint(
            tensors={name: t.detach().cpu().numpy().copy() for name, t in tensors.items()},
            model=self._task.model,
            training=self._settings,
            vocab=self._task.vocab,
            corpus=self._task.corpus,
            step=self._step,
            num_steps=self._num_steps,
            eval_every=self._eval_every,
            best=self._stored_best[0],
            best_step=self._stored_best[1],
            num_without_better=self._num_without_better,
            computed_by=self._placement.signature() | {"num_processes": self._world.size},
        )

    @torch.no_grad()
    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors = {name: torch.from_numpy(t) for name, t in checkpoint.tensors.items()}
        self._model.set_weights({name: tensors[f"weight/{name}"] for name in self._model.weights()})
        self._optimizer.set_state(tensors)
        parts = (tensors[f"state/{part}"][:, self._columns].contiguous() for part in State._fields)
        self._state = State(*(part.to(self._placement.device) for part in parts))
        self._interval.copy_(tensors["interval"])
        self._step = checkpoint.step
        self._num_steps = checkpoint.num_steps
        self._eval_every = checkpoint.eval_every
        self._best, self._best_step = self._stored_best = checkpoint.best, checkpoint.best_step
        self._num_without_better = checkpoint.num_without_better


def _mixed(seed: int, step: int, rank: int) -> int:
    """A 63-bit seed of its own for every (seed, step, rank)."""
    digest = hashlib.blake2b(f"{seed}/{step}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
