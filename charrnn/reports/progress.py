"""A run as a person sees it: one progress bar on a terminal or in a notebook, plain lines elsewhere.

All goes to stderr but the lines in a notebook, which would show them as errors.
"""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, Protocol

from charrnn.reports.part import num_scored
from charrnn.reports.style import message_on_terminal, num_columns, painted, shows_colour
from charrnn.reports.terminal import inert, say
from charrnn.training import event
from charrnn.units import bits

MEASURING = "measuring the speed of this machine ..."
BAR_FORMAT = "{percentage:3.0f}%|{bar}| {desc}"
"""Of tqdm."""

_LEAST_BAR = len("100%|") + 8 + len("| ")  # characters of a bar that still shows something
_RIGHT_OF_BAR = len("^C")  # what a terminal adds to the line when a run is stopped


class Report(Protocol):
    """Takes a run's events and shows them."""

    def show(self, happened: event.Event) -> None:
        """Shows one event."""

    def close(self) -> None:
        """Leaves the terminal as it was found."""


class Silence:
    """Shows only warnings."""

    def show(self, happened: event.Event) -> None:
        """Shows a warning, passes over the rest."""
        if isinstance(happened, event.Warned):
            say(f"warning: {happened.message}")

    def close(self) -> None:
        """Has nothing to leave."""


class Lines:
    """One line per evaluation: for logs and pipes.

    Args:
        verbose: tell learning rate and gradient too, and each plan, not the first alone.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._progress: event.Progressed | None = None
        self._num_steps = 0

    def show(self, happened: event.Event) -> None:
        """Shows plans, evaluations and warnings."""
        match happened:
            case event.Planned():
                if not self._num_steps or self._verbose:  # later ones show in the lines of evaluations
                    say(plan_line(happened))
                self._num_steps = happened.num_steps
            case event.Progressed():
                self._progress = happened
            case event.Evaluated():
                more = ""
                if self._progress is not None:
                    more = f"  {self._progress.symbols_per_second:,.0f} {happened.model.vocab.level}s/s"
                    more += f"  {update_line(self._progress)}" if self._verbose else ""
                total = f"/{self._num_steps}" if self._num_steps else ""
                say(f"step {happened.step}{total}  {evaluation_line(happened)}{more}  {clock(happened.seconds)}")
            case event.Warned():
                say(f"warning: {happened.message}")

    def close(self) -> None:
        """Has nothing to leave."""


class OnTerminal:
    """How the state of a run is told in lines that fit the terminal.

    Args:
        level: what a symbol is, "char" or "byte".
        verbose: tell learning rate and gradient too, and each plan, not the first alone.
    """

    def __init__(self, *, level: str, verbose: bool) -> None:
        self._colour = shows_colour(sys.stderr) and not is_notebook()
        self._level = level
        self._verbose = verbose
        self._progress: event.Progressed | None = None
        self._held_out: float | None = None

    @property
    def _width(self) -> int:
        return num_columns(sys.stderr)

    @property
    def _room(self) -> int:
        return max(1, self._width - _RIGHT_OF_BAR)

    def _described(self, progress: event.Progressed) -> str:
        """What stands beside the bar: as much as there is room for, the time left before all else."""
        losses = [("loss", progress.nats), *([] if self._held_out is None else [("held-out", self._held_out)])]
        nats = ", ".join(f"{name} {value:.3f}" for name, value in losses)
        in_bits = ", ".join(f"{name} {bits(value):.3f}" for name, value in losses)  # as the lines of a narrow terminal
        speed = f"{progress.symbols_per_second / 1000:,.0f}k/s"
        left = "" if math.isnan(progress.seconds_left) else f"{clock(progress.seconds_left)} left"
        parts = [
            [f"{nats} nats/{self._level}", speed, left],
            [f"{nats} nats/{self._level}", left],
            [f"{in_bits} bits", left],
            [in_bits, left],
            [f"loss {bits(progress.nats):.3f}", left],
            [left],
        ]
        told = ["  ".join(filter(None, each)) for each in parts]
        return next((each for each in told if len(each) + _LEAST_BAR <= self._room), told[-1])

    def _evaluated(self, evaluated: event.Evaluated) -> str:
        step = f"step {evaluated.step:>6}  "
        line = step + evaluation_line(evaluated)
        if len(line) > self._width:
            line = step + _short_line(evaluated)
        return f"{line[:-1]}{self._painted('*', 'good')}" if evaluated.is_best else line

    def _painted(self, text: str, style: str) -> str:
        return painted(text, style) if self._colour else text


class Bar(OnTerminal):
    """One progress bar with losses, speed and time left; now and then a short sample above it.

    Args:
        samples: show what the model writes now and then.
        level: what a symbol is, "char" or "byte".
        verbose: tell learning rate and gradient too, and each plan, not the first alone.
    """

    def __init__(self, *, samples: bool, level: str, verbose: bool = False) -> None:
        from tqdm.auto import tqdm

        super().__init__(level=level, verbose=verbose)
        self._lines = sys.stdout if is_notebook() else sys.stderr
        self._samples = samples
        self._bar = tqdm(
            total=None,
            file=sys.stderr,
            ncols=None if is_notebook() else self._room,
            mininterval=0.1,
            bar_format="{desc}",
            leave=False,
            colour="cyan" if self._colour else None,
        )
        self._bar.set_description_str(MEASURING)

    def show(self, happened: event.Event) -> None:
        """Moves the bar, or writes a line above it."""
        match happened:
            case event.Planned():
                is_first = self._bar.total is None  # later ones show in the time left
                num_done = self._bar.n
                self._bar.reset(total=happened.num_steps)  # to 0; a widget takes a new total in no other way
                self._bar.n = num_done
                self._bar.bar_format = BAR_FORMAT
                self._bar.refresh()
                if is_first or self._verbose:
                    self._write(plan_line(happened))
            case event.Progressed():
                self._progress = happened
                self._bar.n = happened.step
                if not is_notebook():
                    self._bar.ncols = self._room
                self._bar.set_description_str(self._described(happened))
            case event.Evaluated():
                self._held_out = happened.score.nats_per_symbol
                self._write(self._evaluated(happened))
                if self._verbose and self._progress is not None:
                    self._write(f"             {update_line(self._progress)}")
            case event.Sampled() if self._samples:
                self._write(self._painted(_indented(happened.text), "weak"))
            case event.Warned():
                self._write(
                    message_on_terminal(f"warning: {inert(happened.message)}", self._width, colour=self._colour)
                )

    def close(self) -> None:
        """Takes the bar away."""
        with suppress(OSError):
            self._bar.close()

    def _write(self, line: str) -> None:
        with suppress(OSError):
            self._bar.write(line, file=self._lines)


def is_notebook() -> bool:
    """Whether the caller's output is shown in a notebook: whether a kernel runs it."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def plan_line(plan: event.Planned) -> str:
    """The length of the run and how it was found."""
    measured = f" ({1000 * plan.seconds_per_step:.1f} ms each)" if plan.seconds_per_step else ""
    return f"plan: {plan.num_steps:,} steps{measured}, held-out loss every {plan.eval_every:,}"


def update_line(progress: event.Progressed) -> str:
    """Learning rate and gradient of the last update."""
    return f"rate {progress.learning_rate:.3g}  gradient {progress.gradient_norm:.3g}"


def evaluation_line(evaluated: event.Evaluated) -> str:
    """Training and held-out loss in nats per symbol, the latter in bits too."""
    nats, level = evaluated.score.nats_per_symbol, evaluated.model.vocab.level
    losses = f"train {evaluated.train_nats:.4f}  {_scored(evaluated)} {nats:.4f} nats/{level}"
    return f"{losses}  {bits(nats):.4f} bits/{level}{_mark(evaluated)}"


def _short_line(evaluated: event.Evaluated) -> str:
    """The same in bits alone, for a narrow terminal."""
    train, held_out = bits(evaluated.train_nats), bits(evaluated.score.nats_per_symbol)
    unit = f"bits/{evaluated.model.vocab.level}"
    return f"train {train:.3f}  {_scored(evaluated)} {held_out:.3f} {unit}{_mark(evaluated)}"


def _scored(evaluated: event.Evaluated) -> str:
    return "held-out sample" if num_scored(evaluated.score) < evaluated.num_held_out else "held-out"


def _mark(evaluated: event.Evaluated) -> str:
    return " *" if evaluated.is_best else ""


def clock(seconds: float) -> str:
    """A duration as m:ss or h:mm:ss.

    >>> clock(75), clock(3671)
    ('1:15', '1:01:11')
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _indented(text: str) -> str:
    """The text beside a rule, its lines cut into pieces that fit the terminal."""
    rule = "    | "
    width = max(num_columns(sys.stderr) - len(rule) - 1, 20)
    lines = (line.expandtabs(8) for line in inert(text).splitlines())
    return "\n".join(rule + line[start : start + width] for line in lines for start in range(0, len(line) or 1, width))


@contextmanager
def counting_bar(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar of symbols on a terminal; nothing elsewhere.

    Gives:
        a function that is told, again and again, how many more symbols are done, and how many there are.
    """
    from tqdm import tqdm

    bar: tqdm[NoReturn] | None = None

    def show(num_more: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(
                total=total,
                unit=" symbols",
                unit_scale=True,
                leave=False,
                file=sys.stderr,
                ncols=num_columns(sys.stderr),
            )
        bar.update(num_more)

    try:
        yield (lambda num_more, total: None) if quiet or not sys.stderr.isatty() else show
    finally:
        if bar is not None:
            bar.close()
