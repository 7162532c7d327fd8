"""What is written and what is scored. Knows neither torch nor numpy."""

from dataclasses import dataclass
from typing import Any

from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting
from charrnn.machine import MAX_THREADS
from charrnn.models.settings import SamplingSettings

MAX_STREAMS = 65_536
_TEXT, _PROTOCOL, _APART, _OUTPUT, _MACHINE = "Text", "Protocol", "Scores that stand apart", "Output", "Machine"
_COPYING = "Copying"


def _training_text(options: str, *, panel: str) -> Any:  # noqa: ANN401 - a field
    return setting(
        (),
        help=f"Where the text is that the model was trained on, for {options}, if it is no longer where it was; may be "
        "repeated.",
        metavar="TEXT",
        panel=panel,
    )


@dataclass(frozen=True)
class GenerationSettings(SamplingSettings):
    """What is written, beside how each symbol is chosen.

    Attributes:
        length: characters per sample, also where symbols are bytes: the last character is always whole.
        seed: the same seed gives the same texts.
        num_samples: texts made side by side as one batch.
        stop: a text that ends a sample; it is the last thing the sample holds. It is looked for in what is drawn, not
            in the prompt.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    length: int = setting(
        1000,
        help="Characters per sample, also for models of bytes; the prompt is not counted.",
        low=0,
        high=10**12,
        short="-n",
        panel=_TEXT,
    )
    seed: int = setting(
        0,
        help="The same seed gives the same text.",
        low=0,
        high=2**63 - 1,
        shown_default="a new one for each run",
        panel=_TEXT,
    )
    num_samples: int = setting(
        1,
        help="How many texts, computed side by side; text i does not depend on their number.",
        low=1,
        high=100_000,
        panel=_TEXT,
    )
    stop: str | None = setting(
        None,
        help="End a sample after this text; the prompt does not count.",
        metavar="TEXT",
        is_given_once=True,
        panel=_TEXT,
    )

    def check_together(self) -> None:
        """Makes sure that a stop text is one.

        Raises:
            SettingsError: it is empty.
        """
        if self.stop == "":
            raise SettingsError("the `stop` text is empty; give at least one character, or leave it out")


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(Settings):
    """How texts are scored.

    Attributes:
        windowed: predictions after which the state begins again; None carries it through.
        by_line: score each line by itself.
        streams: parts of each text that are read side by side; None reads it exactly.
        sequential: read each text as one stream, also where that is not the fastest way to its exact score.
        dynamic: also report the score of a model that goes on learning.
        with_: models to mix with.
        fit: a text that the weights of the mixture are fitted on.
        fit_temperature: a text; also report the score at the softmax temperature that suits it best.
        baselines: also report what simpler means make of the texts.
        training_text: where the text is that the model has learned from; none: where it was.
        unknown: what becomes of characters that the vocabulary lacks.
        encoding: of the texts.
        json: print one JSON object.
        threads: CPU threads.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    windowed: int | None = setting(
        None,
        help="Begin again every N predictions, as models of a fixed context are scored.",
        low=1,
        high=2**62,
        panel=_PROTOCOL,
    )
    by_line: bool = setting(
        False,
        help="Score each line by itself, as the line after another, and rank the lines: 1 is the most probable.",
        panel=_PROTOCOL,
    )
    streams: int | None = setting(
        None,
        help="Split each text into N streams read side by side, each warmed up on the 512 symbols before it: faster, "
        "and approximate.",
        low=1,
        high=MAX_STREAMS,
        panel=_PROTOCOL,
    )
    sequential: bool = setting(
        False,
        help="Read each text as one stream, symbol after symbol: the exact score again, but for rounding, by the plain "
        "way, which is slower.",
        panel=_PROTOCOL,
    )
    dynamic: bool = setting(
        False,
        help="Also report the score of a model that goes on learning from each text while it is scored (dynamic "
        "evaluation); takes two to three times as long as the score by --sequential.",
        panel=_APART,
    )
    with_: tuple[str, ...] = setting(
        (),
        help="Also report the score of the model mixed with this one, such as counts of the same text; may be "
        "repeated.",
        metavar="RUN_OR_FILE",
        names_run=True,
        panel=_APART,
    )
    fit: str | None = setting(
        None,
        help="Fit how far each model of the mixture is trusted on this text, which none of them has learned; without "
        "it each counts by its own held-out score.",
        metavar="TEXT",
        panel=_APART,
    )
    fit_temperature: str | None = setting(
        None,
        help="Also report the score at the softmax temperature that suits this other text best.",
        metavar="FILE",
        is_given_once=True,
        panel=_APART,
    )
    baselines: bool = setting(
        False,
        help="Also report what simpler means, given the text that the model was trained on, make of these: a uniform "
        "guess, character frequencies, n-grams, xz, bz2 and gzip, and the counts of charrnn count.",
        panel=_APART,
    )
    training_text: tuple[str, ...] = _training_text("--baselines", panel=_APART)
    unknown: str = setting(
        "error",
        help="Characters that the model does not know: an error, or left out and counted; a line with more of them "
        "ranks lower.",
        choices=("error", "skip"),
        panel=_TEXT,
    )
    encoding: str = setting("utf-8", help="Encoding of the texts.", metavar="NAME", panel=_TEXT)
    json: bool = setting(False, help="Print one JSON object.", panel=_OUTPUT)
    threads: int | None = setting(
        None,
        help="CPU threads for streams side by side.",
        low=1,
        high=MAX_THREADS,
        shown_default="all cores",
        panel=_MACHINE,
    )

    def check_together(self) -> None:
        """Makes sure that one protocol is asked for.

        Raises:
            SettingsError: several are.
        """
        if (self.windowed is not None) + self.by_line + (self.streams is not None) + self.sequential > 1:
            raise SettingsError(
                "`windowed`, `by_line`, `streams` and `sequential` are different ways to score; give one of them"
            )
        if self.fit is not None and not self.with_:
            raise SettingsError("`fit` fits a mixture; name what to mix with by `with_`")
        stands_apart = self.dynamic or self.with_ or self.fit_temperature is not None or self.baselines
        if stands_apart and not self.is_exact:
            raise SettingsError(
                "`dynamic`, `with_`, `fit_temperature` and `baselines` stand beside the exact score; leave "
                "`windowed`, `by_line` and `streams` out"
            )
        if self.training_text and not self.baselines:
            raise SettingsError("`training_text` has no effect without `baselines`; add that, or leave it out")

    @property
    def protocol(self) -> str:
        """How the model's own score is made, in one word."""
        if self.by_line:
            return "by-line"
        if self.windowed is not None:
            return f"windowed-{self.windowed}"
        if self.streams is not None:
            return f"streams-{self.streams}"
        return "sequential" if self.sequential else "exact"

    @property
    def is_exact(self) -> bool:
        """Whether each symbol is predicted from all before it in its text."""
        return self.protocol in ("exact", "sequential")


@dataclass(frozen=True, kw_only=True)
class CopyingSettings(Settings):
    """What may be copied from the text that a model has learned from, and what is told of it.

    Attributes:
        max_copy: symbols in a row that a sample may copy; None sets no limit.
        copying: tell what the samples have in common with the training text.
        training_text: where that text is; none: where it was.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    max_copy: int | None = setting(
        None,
        help="Never write more than N characters (of a model of bytes: bytes) in a row as they stand in the text that "
        "the model was trained on; the prompt counts.",
        low=1,
        high=1_000_000,
        panel=_COPYING,
    )
    copying: bool = setting(
        False,
        help="Tell how many words also stand in the text that the model was trained on, and the longest passage that "
        "is copied from it.",
        panel=_COPYING,
    )
    training_text: tuple[str, ...] = _training_text("--max-copy and --copying", panel=_COPYING)

    def check_together(self) -> None:
        """Makes sure that no setting is without effect.

        Raises:
            SettingsError: one is.
        """
        if self.training_text and not self.needs_text:
            raise SettingsError(
                "`training_text` has no effect without `max_copy` or `copying`; add one, or leave it out"
            )

    @property
    def needs_text(self) -> bool:
        """Whether the training text is needed."""
        return self.copying or self.max_copy is not None
