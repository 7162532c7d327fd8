"""The plan of a run: how many updates it makes and when it evaluates, fixed once and stored with the run."""

import math
import time
from dataclasses import dataclass

from charrnn.training import event
from charrnn.training.settings import TrainingSettings
from charrnn.training.world import World

_MARGIN = 0.96  # share of the time left that is planned for: machines slow down a little as they warm
_LEAST_CHANGE = 0.02  # share of the number of steps: less is no reason to plan again
_NUM_EVALUATIONS = 20
_EVALUATION_SHARE = 0.05  # of a run given in minutes
_LEAST_MEASURED = 10  # updates
_MEASURED_SECONDS = 5.0
_MEASURED_SHARE = 0.05  # of a run given in minutes, where that is less


class Clock:
    """Seconds of a run over all its parts, by a clock that nobody can set.

    Args:
        seconds_before: spent by earlier parts of the run.
    """

    def __init__(self, seconds_before: float) -> None:
        self._seconds_before = seconds_before
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Seconds since the run began, without the time in which it was stopped."""
        return self._seconds_before + time.monotonic() - self._started


@dataclass(frozen=True)
class Speed:
    """What a run has taken so far and what it takes, in seconds.

    Attributes:
        seconds: spent since it began.
        seconds_per_step: of an update.
        evaluation_seconds: of an evaluation.
        final_seconds: of the final score.
    """

    seconds: float
    seconds_per_step: float
    evaluation_seconds: float
    final_seconds: float


class Plan:
    """Length of the run and distance between evaluations, in updates.

    A run given in minutes is planned after its first seconds, which measure the speed, and again at an evaluation where
    the speed has changed. The plan is stored with the run: resumed, it goes on by it.

    Args:
        settings: the run's length as the user gave it.
        windows_per_epoch: updates that one pass over the text takes.

    Attributes:
        num_steps: updates in the whole run; None while not planned.
        eval_every: updates from one evaluation to the next; 0 while not planned.
    """

    def __init__(self, settings: TrainingSettings, *, windows_per_epoch: int) -> None:
        self._minutes = settings.minutes or 0.0
        self._fixes_evaluations = settings.eval_every is not None
        self.eval_every = settings.eval_every or 0
        self.num_steps = settings.steps
        if settings.epochs is not None:
            self.num_steps = max(1, round(settings.epochs * windows_per_epoch))

    def restore(self, *, num_steps: int | None, eval_every: int) -> None:
        """Goes on with the plan that was stored."""
        self.num_steps, self.eval_every = num_steps, eval_every

    def announce(self, *, seconds_per_step: float = 0.0) -> event.Planned:
        """The plan as an event; chooses the distance of evaluations where it is open."""
        if self.num_steps is None:
            raise ValueError("the run is not planned")
        if not self.eval_every:
            self.eval_every = max(1, math.ceil(self.num_steps / _NUM_EVALUATIONS))
        return event.Planned(self.num_steps, self.eval_every, seconds_per_step)

    def is_measured(self, num_measured: int, seconds: float) -> bool:
        """Whether enough updates were timed to plan a run given in minutes."""
        return num_measured >= _LEAST_MEASURED and seconds >= min(
            _MEASURED_SECONDS, _MEASURED_SHARE * 60 * self._minutes
        )

    def fix(self, step: int, *, speed: Speed, world: World) -> event.Planned:
        """Fixes the plan of a run given in minutes, leaving time for evaluations and the final score.

        Args:
            step: updates made.
            speed: as it was measured.
            world: the processes that share the run; the first one's clock counts.
        """
        left = self._seconds_left(speed)
        count = max(3, min(_NUM_EVALUATIONS, int(_EVALUATION_SHARE * left / speed.evaluation_seconds)))
        if not self._fixes_evaluations:
            left -= count * speed.evaluation_seconds
        num_steps = step + max(1, int(left / speed.seconds_per_step))
        eval_every = self.eval_every or max(1, math.ceil((num_steps - step) / count))
        self.num_steps, self.eval_every = world.from_first([num_steps, eval_every])
        return self.announce(seconds_per_step=speed.seconds_per_step)

    def revise(self, step: int, *, speed: Speed, world: World) -> event.Planned | None:
        """Fits the plan of a run given in minutes to a machine that grew faster or slower; None where it holds.

        Args:
            step: updates made; the model was just evaluated.
            speed: as it was measured since the last evaluation.
            world: the processes that share the run; the first one's clock counts.
        """
        if not self._minutes or self.num_steps is None or step >= self.num_steps:
            return None
        per_step = speed.seconds_per_step + speed.evaluation_seconds / self.eval_every
        num_steps = world.from_first(step + max(1, int(self._seconds_left(speed) / per_step)))
        if abs(num_steps - self.num_steps) < _LEAST_CHANGE * self.num_steps:
            return None
        self.num_steps = num_steps
        return self.announce(seconds_per_step=speed.seconds_per_step)

    def _seconds_left(self, speed: Speed) -> float:
        """For updates and evaluations, with a margin."""
        return _MARGIN * (60 * self._minutes - speed.seconds - speed.final_seconds)

    def is_evaluation_due(self, step: int) -> bool:
        """Whether the model is evaluated after this many updates."""
        return self.num_steps is not None and (step == self.num_steps or step % self.eval_every == 0)
