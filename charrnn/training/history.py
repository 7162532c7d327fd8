"""Which updates a run's history keeps, and at which evaluations it keeps a sample: by the step alone.

So a run that was stopped and goes on keeps the very lines of one that never stopped, and nothing needs to be stored.
Both grow more rare as the run goes on: a loss falls fast at first and slowly later, and a history stays small.
"""

_KEPT_PER_DOUBLING = 128  # updates, from one power of two to the next: as many points as a figure can show
_SAMPLE_GROWTH = 2


def is_kept(step: int) -> bool:
    """Whether the history keeps the update that makes this many.

    >>> [step for step in (1, 2, 255, 256, 257, 258, 514, 516) if is_kept(step)]
    [1, 2, 255, 256, 258, 516]

    Args:
        step: updates made, 1 or more.
    """
    distance = max(1, (1 << step.bit_length() - 1) // _KEPT_PER_DOUBLING)
    return step % distance == 0


def is_sampled(step: int, *, last_sampled: int, is_last: bool) -> bool:
    """Whether an evaluated model writes a sample.

    >>> [step for step in (10, 20, 30, 40) if is_sampled(step, last_sampled=10, is_last=False)]
    [20, 30, 40]

    Args:
        step: updates made.
        last_sampled: the step of the last sample; 0 where there is none.
        is_last: whether this is the run's last evaluation.
    """
    return step > last_sampled and (is_last or step >= _SAMPLE_GROWTH * last_sampled)
