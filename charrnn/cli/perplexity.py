"""``charrnn perplexity``: how well a model predicts texts, in nats, bits and as a perplexity."""

import os
import time
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from charrnn.cli.options import require_one_voice, with_settings
from charrnn.cli.run_argument import RunOrFile, chosen_run
from charrnn.cli.stdin import has_input
from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting
from charrnn.inference.settings import ScoringSettings


@dataclass(frozen=True, kw_only=True)
class AskingSettings(Settings):
    """What is scored beside files, and what is said of it.

    Attributes:
        text: texts themselves.
        quiet: say nothing beside the scores but errors.
        verbose: tell the speed.
    """

    text: tuple[str, ...] = setting((), help="Score this text itself; may be repeated.", panel="Text")
    quiet: bool = setting(False, help="Say nothing beside the scores but errors.", short="-q", panel="Output")
    verbose: bool = setting(False, help="Tell the speed too.", short="-v", panel="Output")

    def check_together(self) -> None:
        """Makes sure that the texts are some, and that less or more is said.

        Raises:
            SettingsError: they are not, or both are asked for.
        """
        require_one_voice(self)
        for text in self.text:
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise SettingsError(f"`text` is {text!r}, which is not valid UTF-8; give it as UTF-8 text") from None


@with_settings(ScoringSettings, AskingSettings)
def perplexity(
    model: RunOrFile = None,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Text files, each scored from its own start; - is standard input, and is read too where no text is "
            "named and it is a file or a pipe.",
            show_default=False,
        ),
    ] = None,
    **given: Any,  # noqa: ANN401 - settings of every type
) -> None:
    """Score texts with a model.

    Exact unless asked otherwise: the state is carried from a text's first character to its last, the first
    character is given and every other predicted, so N characters give N - 1 predictions.

    \b
    Examples:
      charrnn perplexity shakespeare held-out.txt
      charrnn perplexity shakespeare --text "To be, or not to be"
      charrnn perplexity model.safetensors one.txt two.txt --json
      charrnn perplexity shakespeare held-out.txt --windowed 256
      charrnn perplexity shakespeare held-out.txt --dynamic --fit-temperature other.txt
      charrnn perplexity shakespeare held-out.txt --with shakespeare-counts --dynamic
      charrnn perplexity shakespeare held-out.txt --baselines
      cat candidates.txt | charrnn perplexity shakespeare --by-line
    """
    settings = ScoringSettings(**ScoringSettings.part_of(given))
    asking = AskingSettings(**AskingSettings.part_of(given))
    run = chosen_run(model)
    names = texts or []
    if not names and not asking.text:
        if not has_input(alternative="naming it as -", quiet=asking.quiet):
            raise SettingsError("name a TEXT to score: a file, - for standard input, or the text itself with `text`")
        names = ["-"]
    if settings.threads is not None:
        # Read once, when torch and numpy's product library are loaded: the kernels alone are told otherwise.
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(settings.threads))

    from charrnn.inference.text_scores import score_texts
    from charrnn.inference.training_text import find_training_text, learning_seconds
    from charrnn.models.native.build import unavailable_reason
    from charrnn.reports.scores import scores_to_json, write_scores
    from charrnn.reports.terminal import is_terminal, say, write_note, write_result
    from charrnn.storage.model_file import read_model
    from charrnn.storage.run_name import find_run

    file = read_model(run)
    if unavailable_reason() is not None and not asking.quiet:
        write_note(f"note: no compiled kernels ({unavailable_reason()}): the same numbers, more slowly")
    started = time.perf_counter()
    beside = {name: read_model(find_run(name)) for name in settings.with_}
    training = None
    seconds_beside: dict[str, float | None] = {}
    if settings.baselines:
        seconds_beside = {name: learning_seconds(find_run(name), other.facts) for name, other in beside.items()}
        training = find_training_text(run, vocab=file.vocab, facts=file.facts, named=settings.training_text)
    scored = score_texts(
        file, names, settings, typed=asking.text, beside=beside, training=training, seconds_beside=seconds_beside
    )
    seconds = time.perf_counter() - started
    notes = scored.notes + (scored.baselines.notes if scored.baselines else ())
    for note in notes if not asking.quiet else ():
        say(f"note: {note}")
    if settings.json:
        import json

        result = {"model": str(run), **scores_to_json(scored)}
        write_result(json.dumps(result, ensure_ascii=is_terminal(), allow_nan=False) + "\n")
    else:
        write_scores(scored)
    if asking.verbose:
        num_chars = scored.total.num_chars
        say(f"note: {num_chars:,} characters in {seconds:.1f} s, {num_chars / seconds:,.0f} characters/s")
