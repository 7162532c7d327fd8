"""The plan of a run: how many updates it makes and when it evaluates.

A run given in minutes is planned by the clock, again and again. Each plan is stored with the run, so that the run, when
it goes on, goes on by it.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from charrnn.training import event
from charrnn.training.settings import UNCHANGED, Pace, TrainingSettings, share_of_decay
from charrnn.training.world import World

_MARGIN = 0.98  # share of the time left that is planned for: machines slow down a little as they warm
# How far from its minutes a run may be seen to end before it is planned again: a share of them, and while much is left
# a share of that, since the machine's speed then is not known.
_TOLERANCE = 0.003
_TOLERANCE_OF_REST = 0.05
_BETWEEN_LOOKS = 0.01  # of the minutes: from one look at the clock to the next
_LEAST_LOOKED_AT = 3  # updates
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

    A run given in minutes is planned after its first seconds, which measure the speed, and again wherever it is seen
    not to end in time. The rate goes on from where it is: its schedule is stretched or shrunk.

    Args:
        settings: the run's length as the user gave it.
        windows_per_epoch: updates that one pass over the text takes.

    Attributes:
        num_steps: updates in the whole run; None while not planned.
        eval_every: updates from one evaluation to the next; 0 while not planned.
        pace: where the number of steps was last changed.
    """

    def __init__(self, settings: TrainingSettings, *, windows_per_epoch: int) -> None:
        self._settings = settings
        self._minutes = settings.minutes or 0.0
        self._seconds_per_step = 0.0  # as it is expected; 0 where nothing was measured
        self._recorded: dict[int, int] = {}
        self.pace = UNCHANGED
        self._fixes_evaluations = settings.eval_every is not None
        self.eval_every = settings.eval_every or 0
        self.num_steps = settings.steps
        if settings.epochs is not None:
            self.num_steps = max(1, round(settings.epochs * windows_per_epoch))

    def restore(
        self,
        *,
        num_steps: int | None,
        eval_every: int,
        pace: Pace = UNCHANGED,
        recorded: Mapping[int, int] | None = None,
    ) -> None:
        """Goes on with the plan that was stored.

        Args:
            num_steps: updates in the whole run.
            eval_every: updates from one evaluation to the next.
            pace: where the number of steps was last changed.
            recorded: numbers of steps that it was changed to later, by the step; these changes are made again.
        """
        self.num_steps, self.eval_every, self.pace = num_steps, eval_every, pace
        self._recorded = dict(recorded or {})

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
        self._seconds_per_step = speed.seconds_per_step
        return self.announce(seconds_per_step=speed.seconds_per_step)

    def is_look_due(self, num_measured: int, seconds: float) -> bool:
        """Whether a run given in minutes should see again whether it ends in time.

        Args:
            num_measured: updates since it last looked.
            seconds: since then.
        """
        return (
            self._minutes > 0
            and self.num_steps is not None
            and num_measured >= _LEAST_LOOKED_AT
            and seconds >= _BETWEEN_LOOKS * 60 * self._minutes
        )

    def follow(self, step: int) -> event.Planned | None:
        """The change of plan that the run has made here before; None where it has not.

        Args:
            step: updates made.
        """
        num_steps = self._recorded.pop(step, None)
        return None if num_steps is None else self._change(step, num_steps)

    def revise(self, step: int, *, speed: Speed, world: World) -> event.Planned | None:
        """Fits the plan of a run given in minutes to a machine that grew faster or slower; None where it holds.

        Args:
            step: updates made.
            speed: as it was measured since the last look.
            world: the processes that share the run; the first one's clock counts.
        """
        if not self._minutes or self.num_steps is None or step >= self.num_steps or self._recorded:
            return None
        # Half of what was measured, and half of what was expected: a moment says little of the time to come.
        expected = self._seconds_per_step or speed.seconds_per_step
        self._seconds_per_step = (expected + speed.seconds_per_step) / 2
        per_step = self._seconds_per_step + speed.evaluation_seconds / self.eval_every
        left = self._seconds_left(speed)
        tolerance = max(_TOLERANCE * 60 * self._minutes, _TOLERANCE_OF_REST * left)
        num_steps = step + max(1, int(left / per_step))
        # The last evaluation comes at the end, wherever that is.
        num_evaluations = -(-num_steps // self.eval_every) - step // self.eval_every
        left -= num_evaluations * speed.evaluation_seconds
        num_steps = step + max(1, int(left / self._seconds_per_step))
        num_steps = world.from_first(num_steps if abs(num_steps - self.num_steps) * per_step > tolerance else 0)
        if not num_steps or num_steps == self.num_steps:
            return None
        return self._change(step, num_steps)

    def _change(self, step: int, num_steps: int) -> event.Planned:
        if self.num_steps is not None:
            done = share_of_decay(step, self._settings, num_steps=self.num_steps, pace=self.pace)
            self.pace = Pace(step, done)
        self.num_steps = num_steps
        return self.announce(seconds_per_step=self._seconds_per_step)

    def _seconds_left(self, speed: Speed) -> float:
        """For updates and evaluations, with a margin."""
        return _MARGIN * (60 * self._minutes - speed.seconds - speed.final_seconds)

    def is_evaluation_due(self, step: int) -> bool:
        """Whether the model is evaluated after this many updates."""
        return self.num_steps is not None and (step == self.num_steps or step % self.eval_every == 0)
