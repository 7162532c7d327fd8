"""The plan of a run: how many updates it makes and when it evaluates, fixed once and stored with the run."""

import math
import time

from charrnn.training import event
from charrnn.training.settings import TrainingSettings
from charrnn.training.world import World

_MARGIN = 0.96  # share of the time left that is planned for: machines slow down a little as they warm
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


class Plan:
    """Length of the run and distance between evaluations, in updates.

    A run given in minutes is planned after its first seconds, which measure the speed; from then on the plan is as
    fixed as any other, so that a resumed run follows it exactly.

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

    def fix(
        self,
        step: int,
        *,
        seconds: float,
        seconds_per_step: float,
        evaluation_seconds: float,
        final_evaluations: float,
        world: World,
    ) -> event.Planned:
        """Fixes the plan of a run given in minutes, leaving time for evaluations and the final score.

        Args:
            step: updates made.
            seconds: spent so far.
            seconds_per_step: measured.
            evaluation_seconds: that one evaluation takes.
            final_evaluations: what the final score takes, in evaluations.
            world: the processes that share the run; the first one's clock counts.
        """
        left = _MARGIN * (60 * self._minutes - seconds - final_evaluations * evaluation_seconds)
        count = max(3, min(_NUM_EVALUATIONS, int(_EVALUATION_SHARE * left / evaluation_seconds)))
        if not self._fixes_evaluations:
            left -= count * evaluation_seconds
        num_steps = step + max(1, int(left / seconds_per_step))
        eval_every = self.eval_every or max(1, math.ceil((num_steps - step) / count))
        self.num_steps, self.eval_every = world.from_first([num_steps, eval_every])
        return self.announce(seconds_per_step=seconds_per_step)

    def is_evaluation_due(self, step: int) -> bool:
        """Whether the model is evaluated after this many updates."""
        return self.num_steps is not None and (step == self.num_steps or step % self.eval_every == 0)
