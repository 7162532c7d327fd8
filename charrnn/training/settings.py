"""How a model is made: every choice that shapes the weights of a network, the schedule of the rate, and counting."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting
from charrnn.models.counts.settings import DEFAULT_MEMORY
from charrnn.models.settings import CHOSEN
from charrnn.storage.run_files import DEFAULT_RUNS

_PANEL = "Recipe"
_LENGTH = "Length of the run"
LENGTHS = ("minutes", "epochs", "steps")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """A run's recipe and its end.

    Attributes:
        minutes: length of the run in time, or
        epochs: in passes over the text, or
        steps: in updates; exactly one of the three is given.
        batch_size: B, parallel streams.
        bptt: T, steps a gradient reaches back.
        dropout: share of each layer's outputs dropped.
        weight_dropout: share of each layer's recurrent weights dropped, drawn anew for every window (Wan et al. 2013;
            Merity et al. 2018).
        learning_rate: AdamW's peak rate.
        final_learning_rate: rate at the last step, as a share of the peak.
        warmup_steps: steps over which the rate rises from near zero to its peak.
        weight_decay: AdamW's decoupled decay of matrices; biases are never decayed.
        beta1: AdamW's decay of the mean gradient.
        beta2: AdamW's decay of the mean squared gradient.
        grad_clip: largest norm of the whole gradient.
        averaging: the averaged weights look back over this share of the steps so far; 0 averages nothing.
        restart: share of windows before which a stream forgets all and begins from the zero state, as texts to be
            sampled or scored do; without it a model seldom learns how a text begins.
        patience: evaluations without a better held-out loss after which the run ends.
        eval_every: steps from one held-out evaluation to the next; None chooses about twenty for the run.
        seed: of weights, window offsets and dropout.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    minutes: float | None = setting(
        None,
        help="Length of the run in minutes.",
        above=0,
        high=1e6,
        panel=_LENGTH,
        shown_default="5, or 60 epochs of a text below 400,000 symbols",
    )
    epochs: float | None = setting(
        None, help="Length of the run in passes over the text.", above=0, high=1e9, panel=_LENGTH
    )
    steps: int | None = setting(None, help="Length of the run in updates.", low=1, high=10**12, panel=_LENGTH)
    batch_size: int = setting(help="Parallel streams.", low=1, high=65_536, panel=_PANEL, shown_default=CHOSEN)
    bptt: int = setting(help="Steps a gradient reaches back.", low=1, high=65_536, panel=_PANEL, shown_default=CHOSEN)
    dropout: float = setting(
        0.0, help="Share of each layer's outputs dropped.", low=0, below=1, panel=_PANEL, shown_default=CHOSEN
    )
    weight_dropout: float = setting(
        0.0,
        help="Share of the recurrent weights dropped; others for each window.",
        low=0,
        below=1,
        panel=_PANEL,
        shown_default=CHOSEN,
    )
    learning_rate: float = setting(help="Peak rate of AdamW.", above=0, high=10, panel=_PANEL, shown_default=CHOSEN)
    final_learning_rate: float = setting(0.01, help="Last rate, as a share of the peak.", low=0, high=1, panel=_PANEL)
    warmup_steps: int = setting(250, help="Steps in which the rate rises.", low=0, high=1_000_000, panel=_PANEL)
    weight_decay: float = setting(0.01, help="AdamW's decay of matrices.", low=0, high=10, panel=_PANEL)
    beta1: float = setting(0.9, help="AdamW's decay of the mean gradient.", low=0, high=0.9999, panel=_PANEL)
    beta2: float = setting(0.99, help="AdamW's decay of the mean squared gradient.", low=0, high=0.999999, panel=_PANEL)
    grad_clip: float = setting(0.25, help="Largest norm of the gradient.", above=0, high=1e6, panel=_PANEL)
    averaging: float = setting(
        0.05, help="Share of the steps so far that the average of the weights covers.", low=0, high=1, panel=_PANEL
    )
    restart: float = setting(
        0.05,
        before=0.0,
        help="Share of windows at which a stream begins again from the zero state.",
        low=0,
        high=1,
        panel=_PANEL,
    )
    patience: int = setting(
        10,
        help="Evaluations without a better held-out loss that end the run.",
        low=1,
        high=1_000_000,
        panel=_PANEL,
    )
    eval_every: int | None = setting(
        None, help="Steps between evaluations.", low=1, high=10**12, panel=_PANEL, shown_default="about 20 per run"
    )
    seed: int = setting(0, help="Seed of weights, windows and dropout.", low=0, high=2**63 - 1, panel=_PANEL)

    def check_together(self) -> None:
        """Makes sure that the run has one end.

        Raises:
            SettingsError: it has none or several.
        """
        given = [f"`{name}`" for name in LENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            raise SettingsError(
                "give the length of the run as exactly one of `minutes`, `epochs` and `steps`; "
                f"found {' and '.join(given) or 'none'}"
            )


class Pace(NamedTuple):
    """Where the schedule of the rate was last stretched or shrunk to another number of steps.

    Attributes:
        step: updates made by then; 0 where it never was.
        done: share of the decay that was done by then.
    """

    step: int
    done: float


UNCHANGED = Pace(0, 0.0)


def share_of_decay(step: int, settings: TrainingSettings, *, num_steps: int, pace: Pace = UNCHANGED) -> float:
    """How much of the decay is done before update number ``step`` (from 0), 0 to 1: evenly more from the warm-up on.

    Args:
        step: updates made before this one, not fewer than those of the pace.
        settings: the warm-up.
        num_steps: updates in the whole run.
        pace: where the number of steps was last changed: from there on the rest is done in the steps that are left.

    >>> s = TrainingSettings(batch_size=1, bptt=1, learning_rate=1.0, warmup_steps=4, steps=16)
    >>> [share_of_decay(t, s, num_steps=16) for t in (4, 10, 16)]
    [0.0, 0.5, 1.0]
    >>> [share_of_decay(t, s, num_steps=30, pace=Pace(10, 0.5)) for t in (10, 20, 30)]
    [0.5, 0.75, 1.0]
    """
    start = max(pace.step, min(settings.warmup_steps, num_steps // 4))
    if step <= start:
        return pace.done
    return pace.done + (1 - pace.done) * min((step - start) / (num_steps - start), 1.0) if num_steps > start else 1.0


def learning_rate_at(step: int, settings: TrainingSettings, *, num_steps: int | None, pace: Pace = UNCHANGED) -> float:
    """The rate of update number ``step`` (from 0): a straight rise, then a half cosine down.

    Args:
        step: updates made before this one.
        settings: peak, final share and warm-up.
        num_steps: updates in the whole run; None while it is not known yet, which holds the peak.
        pace: where the number of steps was last changed; the rate goes on from what it was there.

    Source: cosine decay, Loshchilov & Hutter 2017.

    >>> s = TrainingSettings(batch_size=1, bptt=1, learning_rate=1.0, warmup_steps=4, steps=16)
    >>> [round(learning_rate_at(t, s, num_steps=16), 3) for t in (0, 3, 4, 10, 16)]
    [0.25, 1.0, 1.0, 0.505, 0.01]
    """
    warmup = settings.warmup_steps
    if num_steps is not None:
        warmup = min(warmup, num_steps // 4)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if num_steps is None:
        return settings.learning_rate
    done = share_of_decay(step, settings, num_steps=num_steps, pace=pace)
    share = settings.final_learning_rate
    return settings.learning_rate * (share + (1 - share) * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True, kw_only=True)
class CountingSettings(Settings):
    """How a text is counted, and where the run goes.

    Attributes:
        memory: most MiB that the table of counts may take.
        name: of the run; None for that of the first text with "-counts" after it.
        out: directory that holds runs; None for that of ``charrnn.storage.run_name.runs_directory``.
    """

    memory: int = setting(
        DEFAULT_MEMORY,
        help="Most MiB that the table of counts may take; a text of a million characters needs 256 to lose none.",
        low=1,
        high=1 << 16,
        panel="Counts",
    )
    name: str | None = setting(
        None, help="Name of the run.", metavar="NAME", panel="Output", shown_default="the first text's name, -counts"
    )
    out: Path | None = setting(
        None,
        help="Directory that holds runs.",
        metavar="DIRECTORY",
        panel="Output",
        short="-o",
        shown_default=DEFAULT_RUNS,
    )
