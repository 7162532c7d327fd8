"""A run: updates, evaluations and saves in turn, given as events. It prints nothing.

    Learner: window -> update            Plan: how many, and when to evaluate
    now and then: evaluate the averaged weights -> Keeper: model.safetensors if best -> training.safetensors

Nothing that is not finite is ever stored: a run that diverges ends, and what it stored before stays as it is.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from charrnn.errors import DeviceError, DivergedError, InputError, NonFiniteError, OutputError
from charrnn.models.native.tensors import has_tiles
from charrnn.models.network import CharRNN
from charrnn.storage.metrics import MetricsLog, read_metrics
from charrnn.storage.model_file import ModelFile, is_of_run, read_model
from charrnn.storage.run_files import METRICS_NAME, TRAINING_NAME
from charrnn.training import event
from charrnn.training.checkpoint import Checkpoint, write_checkpoint
from charrnn.training.device import Placement, check_memory, return_freed_memory
from charrnn.training.evaluation import evaluate, short_sample
from charrnn.training.history import is_kept, is_sampled
from charrnn.training.keeper import Keeper, with_score
from charrnn.training.learner import Learner, Update
from charrnn.training.plan import Clock, Plan, Speed
from charrnn.training.saving import Saver
from charrnn.training.settings import learning_rate_at
from charrnn.training.task import Task
from charrnn.training.tensorboard import EventLog
from charrnn.training.world import ALONE, World
from charrnn.units import Score

MAX_EVALUATED = 131_072  # held-out symbols scored during a run; the rest is scored once, at its end
MAX_FINAL = 524_288
# Of the final score in float32, at most, as a multiple of one in bfloat16: measured 1.25 by vectors.
_FLOAT32_COST, _FLOAT32_COST_WITH_TILES = 1.5, 3.0
_SECONDS_BETWEEN_EVENTS = 0.1
_SECONDS_BETWEEN_SAVES = 30.0
_MAX_SKIPPED = 20  # updates in a row with non-finite gradients
_PLANNED = "planned"  # what the history calls a change of plan


@dataclass
class _Progress:
    """Losses and times since the last progress that was shown.

    Attributes:
        loss: sum over the updates, on the device.
        num_skipped: updates in a row, up to the last, whose gradient was not finite; on the device.
        step_seconds: of every update of this part of the run.
        num_since_look, seconds_since_look: updates since it was last seen whether the run ends in time.
    """

    loss: torch.Tensor
    num_skipped: torch.Tensor
    shown_step: int
    shown_at: float
    last: float
    step_seconds: list[float] = field(default_factory=list)
    num_since_look: int = 0
    seconds_since_look: float = 0.0

    @classmethod
    def begin(cls, step: int, device: torch.device) -> "_Progress":
        now = time.monotonic()
        zero = torch.zeros((), dtype=torch.float64, device=device)
        return cls(zero, torch.zeros((), device=device), step, now, now)

    def add(self, update: Update) -> None:
        skipped = (~torch.isfinite(update.gradient_norm)).to(self.num_skipped.dtype)
        self.num_skipped = (self.num_skipped + skipped) * skipped
        self.loss = self.loss + update.loss
        now = time.monotonic()
        self.step_seconds.append(now - self.last)
        self.num_since_look += 1
        self.seconds_since_look += now - self.last
        self.last = now

    def look(self) -> float:
        """Seconds per update since the last look; begins anew."""
        per_step = self.seconds_since_look / self.num_since_look
        self.num_since_look, self.seconds_since_look = 0, 0.0
        return per_step

    def show(self, step: int) -> None:
        """Begins the next interval; the time that showing took is not part of an update's."""
        self.shown_step, self.loss = step, torch.zeros_like(self.loss)
        self.shown_at = self.last = time.monotonic()


class Run:
    """One run in one directory.

    Args:
        task: what is learned and how.
        directory: the run's directory; exists and is locked by the caller.
        placement: device and backend.
        weights: weights to start from, by name; None for fresh ones.
        checkpoint: the state to go on from; None for a new run.
        world: the processes that share the run.
        tensorboard: whether the history is written as events for TensorBoard too.
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
        tensorboard: bool = False,
    ) -> None:
        self._task = task
        self._directory = directory
        self._placement = placement
        self._world = world
        if placement.device.type == "cpu":
            check_memory(task.model, task.training)
        self._learner = Learner(task, placement=placement, weights=weights, world=world)
        self._plan = Plan(task.training, windows_per_epoch=self._learner.windows_per_epoch)
        self._saver = Saver(writes=world.is_first)
        self._keeper = Keeper(directory, self._saver)
        if checkpoint is not None:
            self._learner.restore(checkpoint.tensors, step=checkpoint.step)
            self._plan.restore(
                num_steps=checkpoint.num_steps,
                eval_every=checkpoint.eval_every,
                pace=checkpoint.pace,
                recorded=dict(world.from_first(_plans_after(directory, checkpoint) if world.is_first else [])),
            )
            self._keeper.restore(
                best=checkpoint.best,
                best_step=checkpoint.best_step,
                num_without_better=checkpoint.num_without_better,
            )
        self._metrics: MetricsLog | None = None
        if world.is_first:
            self._metrics = MetricsLog(directory / METRICS_NAME, keep_until_step=self.step)
        self._clock = Clock(self._metrics.last_number("seconds") if self._metrics is not None else 0.0)
        self._sampled_step = 0 if self._metrics is None else self._metrics.last_step("sampled")
        self._board: EventLog | None = None
        if tensorboard and self._metrics is not None:
            self._board = EventLog(directory, seconds=self._clock.seconds())
        self._last_save = time.monotonic()
        self._evaluation_seconds = 0.0

    @property
    def step(self) -> int:
        """Updates made so far."""
        return self._learner.step

    @property
    def num_steps(self) -> int | None:
        """Updates in the whole run; None while not planned."""
        return self._plan.num_steps

    @property
    def is_patience_exhausted(self) -> bool:
        """Whether the held-out loss has not fallen for as many evaluations as the run waits."""
        return self._keeper.num_without_better >= self._task.training.patience

    def events(self, should_stop: Callable[[], bool]) -> Iterator[event.Event]:
        """Trains to the end of the plan, or until ``should_stop``, which is asked between updates.

        Yields:
            events, last of them Finished.

        Raises:
            DivergedError: losses, gradients or weights are not finite any more; what was stored before them stays.
            DeviceError: the device is lost or out of memory.
            OutputError: nothing could be saved, several times in a row.
        """
        try:
            with self._placement.limits_torch():
                yield from self._train(should_stop)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"out of memory at step {self.step}; use a smaller `batch_size`, `bptt` or `hidden_size`, "
                f"then train again or `resume`"
            ) from error
        except torch.AcceleratorError as error:
            raise DeviceError(
                f"the device was lost at step {self.step} ({str(error).splitlines()[0]}); "
                f"go on from the last checkpoint with `resume`"
            ) from error
        finally:
            for log in (self._metrics, self._board):
                if log is not None:
                    log.close()

    def _train(self, should_stop: Callable[[], bool]) -> Iterator[event.Event]:
        self._last_save = time.monotonic()
        for line in [] if self._metrics is None else self._metrics.found:
            yield from self._show(line)
        if self.num_steps is not None:
            yield self._plan.announce()
        yield from self._replace_lost()
        if self.step == 0:  # from its first moment on, a run can be resumed
            yield from self._save()
        progress = _Progress.begin(self.step, self._placement.device)
        while (self.num_steps is None or self.step < self.num_steps) and not self.is_patience_exhausted:
            update = self._learner.update(num_steps=self.num_steps, pace=self._plan.pace)
            progress.add(update)
            if self._metrics is not None and is_kept(self.step):
                yield from self._append_update(update)
            if progress.last - progress.shown_at >= _SECONDS_BETWEEN_EVENTS or self.step == self.num_steps:
                yield self._progressed(progress, update)
                self._refuse_divergence(progress, update)
                progress.show(self.step)

            # Signals and clocks differ between processes; what follows from them must not.
            stops, is_measured, is_look_due, is_save_due = self._world.any(
                should_stop(),
                self.num_steps is None and self._plan.is_measured(len(progress.step_seconds), self._clock.seconds()),
                self._plan.is_look_due(progress.num_since_look, progress.seconds_since_look),
                self.num_steps is not None and time.monotonic() - self._last_save >= _SECONDS_BETWEEN_SAVES,
            )
            is_evaluated = self._plan.is_evaluation_due(self.step)
            if is_evaluated:  # also where a stop was asked for: resumed, the run begins with the next update
                yield from self._evaluate()
            if stops and not (is_evaluated and self.is_patience_exhausted):
                yield from self._stop()
                return
            yield from self._planned_again(self._plan.follow(self.step))
            if is_look_due:
                speed = self._speed(progress.look())
                yield from self._planned_again(self._plan.revise(self.step, speed=speed, world=self._world))
            if is_measured:
                yield from self._evaluate()
                yield self._fixed_plan(median(progress.step_seconds[len(progress.step_seconds) // 3 :]))
                progress.look()
            if is_measured or is_evaluated or is_save_due:
                yield from self._save()
            if is_save_due and not is_evaluated:
                yield from self._append_time("saved")
            if is_measured:
                progress.show(self.step)
            progress.last = time.monotonic()
        yield from self._finish()

    def _replace_lost(self) -> Iterator[event.Event]:
        """Where a run goes on whose best model is missing or damaged, the model it goes on from takes its place."""
        lost = ""
        if self._keeper.best is not None and self._world.is_first:
            try:
                found = read_model(self._keeper.path)
            except InputError as error:
                lost = str(error)
            else:
                if not is_of_run(found.to_facts(), self._task.to_facts() | {"best_step": self._keeper.best_step}):
                    raise InputError(
                        f"{str(self._keeper.path)!r} belongs to another run than the training state beside it; move "
                        f"it away, and the run goes on without it"
                    )
        (is_lost,) = self._world.any(bool(lost))
        if is_lost:
            yield event.Warned(f"the best model is lost, that of step {self.step} takes its place ({lost})")
            waited = self._keeper.num_without_better
            self._keeper.restore(best=None, best_step=0, num_without_better=0)
            yield from self._evaluate()
            self._keeper.num_without_better = waited  # a run that patience has ended stays ended
            yield from self._save()

    def _progressed(self, progress: _Progress, update: Update) -> event.Progressed:
        num_shown = self.step - progress.shown_step
        per_step = (progress.last - progress.shown_at) / num_shown
        return event.Progressed(
            step=self.step,
            num_steps=self.num_steps,
            nats=float(progress.loss) / num_shown,
            learning_rate=update.learning_rate,
            gradient_norm=float(update.gradient_norm),
            symbols_per_second=self._learner.symbols_per_update / per_step,
            seconds=self._clock.seconds(),
            seconds_left=math.nan if self.num_steps is None else (self.num_steps - self.step) * per_step,
        )

    def _refuse_divergence(self, progress: _Progress, update: Update) -> None:
        num_skipped = int(progress.num_skipped)
        if num_skipped >= _MAX_SKIPPED:
            raise self._diverged(
                f"the gradient was not finite in {num_skipped} updates in a row (learning rate "
                f"{update.learning_rate:.3g}, norm {float(update.gradient_norm):.3g}); none was applied"
            )

    def _diverged(self, what: str) -> DivergedError:
        holds = (
            "the last good model and training state are kept in" if self._keeper.stored[0] else "nothing was kept in"
        )
        return DivergedError(
            f"training diverged at step {self.step}: {what}; {holds} {self._directory}. Train again with a smaller "
            f"`learning_rate`"
        )

    def _require_finite(self, arrays: Mapping[str, np.ndarray]) -> None:
        wrong = [name for name, array in arrays.items() if not np.isfinite(array).all()]
        if wrong:
            raise self._diverged(f"{wrong[0]} is not finite")

    def _fixed_plan(self, seconds_per_step: float) -> event.Planned:
        return self._plan.fix(self.step, speed=self._speed(seconds_per_step), world=self._world)

    def _planned_again(self, planned: event.Planned | None) -> Iterator[event.Event]:
        """Records a change of plan, so that a run that goes on from before it makes it again."""
        if planned is not None:
            yield planned
            seconds = round(self._clock.seconds(), 3)
            yield from self._append(
                {"event": _PLANNED, "step": self.step, "num_steps": planned.num_steps, "seconds": seconds}
            )

    def _speed(self, seconds_per_step: float) -> Speed:
        final = max(1.0, min(len(self._task.held_out_ids), MAX_FINAL) / MAX_EVALUATED)
        if self._placement.backend.precision == "bfloat16":
            final *= _FLOAT32_COST_WITH_TILES if has_tiles() else _FLOAT32_COST
        return Speed(
            seconds=self._clock.seconds(),
            seconds_per_step=seconds_per_step,
            evaluation_seconds=self._evaluation_seconds,
            final_seconds=final * self._evaluation_seconds,
        )

    def _evaluate(self) -> Iterator[event.Event]:
        began = time.monotonic()
        score = self._score()
        self._evaluation_seconds = time.monotonic() - began
        model = self._model_file(score)
        is_best = self._keeper.take(model, score, step=self.step)
        train_nats = self._learner.take_mean_loss()
        yield from self._keeper.store(step=self.step)
        yield from self._append(
            {
                "event": "evaluated",
                "step": self.step,
                "train_nats": train_nats,
                "nats_per_symbol": score.nats_per_symbol,
                "nats_per_char": score.nats_per_char,
                "bits_per_char": score.bits_per_char,
                "learning_rate": learning_rate_at(
                    self.step, self._task.training, num_steps=self.num_steps, pace=self._plan.pace
                ),
                "seconds": round(self._clock.seconds(), 3),
            }
        )
        yield event.Evaluated(
            step=self.step,
            score=score,
            train_nats=train_nats,
            seconds=self._clock.seconds(),
            is_best=is_best,
            model=model,
            num_held_out=len(self._task.held_out_ids),
        )
        is_last = self.step == self.num_steps or self.is_patience_exhausted
        if self._metrics is not None and is_sampled(self.step, last_sampled=self._sampled_step, is_last=is_last):
            yield from self._sample(model)

    def _sample(self, model: ModelFile) -> Iterator[event.Event]:
        self._sampled_step = self.step
        text = short_sample(model)
        seconds = self._clock.seconds()
        yield from self._append({"event": "sampled", "step": self.step, "text": text, "seconds": round(seconds, 3)})
        yield event.Sampled(step=self.step, text=text, seconds=seconds)

    def _score(self) -> Score:
        """The averaged model on held-out text, in the precision of the training."""
        return self._evaluated(self._learner.averaged(), MAX_EVALUATED)

    def _evaluated(self, network: CharRNN, num_symbols: int) -> Score:
        try:
            return evaluate(network, self._task.held_out_ids[:num_symbols], self._task.vocab)
        except NonFiniteError as error:
            raise self._diverged("the held-out loss is not finite") from error
        finally:
            return_freed_memory()

    def _model_file(self, score: Score) -> ModelFile:
        # A model is shared, so it does not hold the paths of its texts.
        facts = {
            "step": self.step,
            "corpus": self._task.text.to_json(),
            "training": self._task.training.to_json(),
        }
        weights = self._learner.averaged_weights()
        self._require_finite(weights)  # a weight that the held-out text does not use may be wrong and the score right
        return with_score(ModelFile(self._task.model, self._task.vocab, weights, facts), score)

    def _stop(self) -> Iterator[event.Event]:
        yield from self._keeper.store(step=self.step)
        yield from self._save(is_last=True)  # before the score: whoever is impatient now loses nothing
        yield from self._append_time("stopped")
        score = self._keeper.best
        if score is None:
            # So that there is a model to look at. The run itself ignores it: otherwise resuming would not be exact.
            score = self._score()
            yield from self._keeper.write(self._model_file(score), step=self.step)
        yield self._finished("stopped", score, self._keeper.best_step or self.step)

    def _finish(self) -> Iterator[event.Event]:
        if self._keeper.best is None:  # gone on with after its last evaluation, whose model could not be stored
            yield from self._evaluate()
        yield from self._keeper.store(step=self.step, is_last=True)
        yield from self._score_best()
        yield from self._save(is_last=True)
        if self._keeper.best is None:
            raise RuntimeError("a run that is done was never evaluated")
        reason = "end" if self.step == self.num_steps else "patience"
        yield self._finished(reason, self._keeper.best, self._keeper.best_step)

    def _finished(self, reason: str, best: Score, best_step: int) -> event.Finished:
        return event.Finished(
            step=self.step,
            reason=reason,
            best=best,
            best_step=best_step,
            seconds=self._clock.seconds(),
            num_held_out=len(self._task.held_out_ids),
        )

    def _score_best(self) -> Iterator[event.Event]:
        """Scores the best model once more where scores during the run were of a part, or in reduced precision."""
        exact = replace(self._placement.backend, precision="float32")
        is_exact = exact == self._placement.backend and not self._placement.autocast
        if is_exact and len(self._task.held_out_ids) <= MAX_EVALUATED:
            return
        if not self._keeper.is_stored or not self._world.is_first:
            return  # an older model is stored, as warnings have said; or another process does this
        try:
            best = read_model(self._keeper.path)
        except InputError as error:
            yield event.Warned(f"the best model could not be read again to be scored in full: {error}")
            return
        with torch.no_grad():
            network = CharRNN(self._task.model, exact).to(self._placement.device)
            network.set_weights({name: torch.tensor(w) for name, w in best.weights.items()})
        score = self._evaluated(network, MAX_FINAL)
        yield from self._keeper.rescore(best, score, step=self.step)

    def _save(self, *, is_last: bool = False) -> Iterator[event.Event]:
        path, what = self._directory / TRAINING_NAME, "the training state"
        checkpoint = self._checkpoint()  # gathered from all processes, so by all
        self._require_finite(checkpoint.tensors)
        yield from self._saver.attempt(
            lambda: write_checkpoint(path, checkpoint), what, step=self.step, is_last=is_last
        )
        self._last_save = time.monotonic()
        if not self._saver.has_failed(what):
            yield event.Saved(self.step, path)

    def _append(self, line: dict[str, Any]) -> Iterator[event.Event]:
        if self._metrics is None:
            return
        try:
            self._metrics.append(line)
        except OutputError as error:
            yield event.Warned(f"{error}; training goes on without this log")
        yield from self._show(line)

    def _show(self, line: dict[str, Any]) -> Iterator[event.Event]:
        """Hands a line of the history to TensorBoard."""
        if self._board is None:
            return
        try:
            self._board.add(line)
        except OSError as error:
            self._board.close()
            self._board = None
            yield event.Warned(f"cannot write events for TensorBoard: {error.strerror}; training goes on without them")

    def _append_update(self, update: Update) -> Iterator[event.Event]:
        """One update as it was: no mean, which would have to be stored for a run that goes on."""
        yield from self._append(
            {
                "event": "updated",
                "step": self.step,
                "nats": _rounded(float(update.loss)),
                "gradient_norm": _rounded(float(update.gradient_norm)),
                "learning_rate": _rounded(update.learning_rate),
                "seconds": round(self._clock.seconds(), 3),
            }
        )

    def _append_time(self, what: str) -> Iterator[event.Event]:
        """What the run has taken, where no evaluation says it: the clock of a run that goes on begins with it."""
        yield from self._append({"event": what, "step": self.step, "seconds": round(self._clock.seconds(), 3)})

    def _checkpoint(self) -> Checkpoint:
        best, best_step = self._keeper.stored
        return Checkpoint(
            tensors=self._learner.tensors(),
            model=self._task.model,
            training=self._task.training,
            vocab=self._task.vocab,
            text=self._task.text,
            source=self._task.source,
            step=self.step,
            num_steps=self.num_steps,
            eval_every=self._plan.eval_every,
            pace=self._plan.pace,
            best=best,
            best_step=best_step,
            num_without_better=self._keeper.num_without_better,
            computed_by=self._placement.signature() | {"num_processes": self._world.size},
        )


def _plans_after(directory: Path, checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """Changes of plan that a run made after its checkpoint, before it ended without saving: steps, and new lengths.

    Raises:
        InputError: the history is there but cannot be read.
    """
    found = []
    for line in read_metrics(directory / METRICS_NAME) if checkpoint.num_steps is not None else []:
        step, num_steps = line.get("step"), line.get("num_steps")
        if line.get("event") != _PLANNED or type(step) is not int or type(num_steps) is not int:
            continue
        if checkpoint.step < step < num_steps < 1 << 62:
            found.append((step, num_steps))
    return found


def _rounded(value: float) -> float:
    """Six digits of a number: more than a figure shows."""
    return float(f"{value:.6g}")
