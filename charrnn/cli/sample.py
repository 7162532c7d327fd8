"""``charrnn sample``: new text from a model, shown as it is made."""

import json
import os
import sys
import time
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.options import require_one_voice, with_settings
from charrnn.cli.run_argument import RunOrFile, chosen_run
from charrnn.cli.stdin import has_input
from charrnn.errors import InputError, SettingsError
from charrnn.fields import Settings, setting
from charrnn.inference.settings import CopyingSettings, GenerationSettings
from charrnn.machine import MAX_THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from charrnn.cli.signals import StopRequest
    from charrnn.inference.generation import Chunk
    from charrnn.inference.language_model import LanguageModel
    from charrnn.inference.training_text import TrainingText
    from charrnn.models.predictor import Predictor


_PANEL = "Output"


@dataclass(frozen=True, kw_only=True)
class WritingSettings(Settings):
    """What a sample goes on from, and how it is shown.

    Attributes:
        prompt: text to go on from; "-" reads it from standard input; None reads what a user has put there.
        with_: models to mix with.
        dynamic: learn from the prompt, and from what is written.
        interactive: write together with the user, at a prompt.
        raw: send control characters to a terminal as they are.
        json: print one JSON object.
        quiet: say nothing beside the text but warnings and errors.
        verbose: tell the seed and the speed.
        threads: CPU threads for many samples.
    """

    prompt: str | None = setting(
        None,
        help="The same as PROMPT; an empty text begins without a prompt, whatever standard input is.",
        metavar="TEXT",
        short="-p",
        is_given_once=True,
        panel="Text",
    )
    with_: tuple[str, ...] = setting(
        (),
        help="Write with the mixture of the model and this one, such as counts of the same text; may be repeated.",
        metavar="RUN_OR_FILE",
        names_run=True,
        panel="Model",
    )
    dynamic: bool = setting(
        False,
        help="Go on learning from the prompt and from what is written, so that the text goes on in the prompt's own "
        "manner; one sample at a time.",
        panel="Model",
    )
    interactive: bool = setting(
        False,
        help="Write together at a prompt: begin a text, see it go on, stop it, take another, choose the next "
        "character, change the settings, save; /help there lists all of it.",
        short="-i",
        panel="Text",
    )
    raw: bool = setting(
        False,
        help="Send control characters to a terminal as they are; otherwise they are shown as escapes: \\x1b.",
        panel=_PANEL,
    )
    json: bool = setting(
        False, help="Print one JSON object: prompt, settings, and the samples without the prompt.", panel=_PANEL
    )
    quiet: bool = setting(False, help="Say nothing beside the text but errors.", short="-q", panel=_PANEL)
    verbose: bool = setting(False, help="Tell the seed and the speed too.", short="-v", panel=_PANEL)
    threads: int | None = setting(
        None, help="CPU threads for many samples.", low=1, high=MAX_THREADS, shown_default="all cores", panel="Machine"
    )

    def check_together(self) -> None:
        """Makes sure that no setting is without effect.

        Raises:
            SettingsError: one is.
        """
        require_one_voice(self)
        if self.interactive and self.json:
            raise SettingsError("`interactive` prints no JSON; leave `json` out")
        if self.interactive and self.prompt == "-":
            raise SettingsError("`interactive` reads standard input itself; give the `prompt` as text")
        if self.raw and self.json:
            raise SettingsError("`raw` has no effect with `json`, whose escapes keep control characters; leave one out")


@with_settings(GenerationSettings, CopyingSettings, WritingSettings)
def sample(
    context: typer.Context,
    model: RunOrFile = None,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT",
            help="Text to continue, printed first; - reads it from standard input. Without one, a file or a pipe on "
            "standard input is the prompt, as it is. Where there is none either, the text begins as a new line does, "
            "or, where the vocabulary has no newline, after its first symbol, which is not printed.",
            show_default=False,
        ),
    ] = None,
    **given: Any,  # noqa: ANN401 - settings of every type
) -> None:
    """Write new text with a model.

    Text appears as it is made. Several samples come one after the other, each after a line with its number.

    \b
    Examples:
      charrnn sample shakespeare
      charrnn sample shakespeare "KING RICHARD:" --length 300 --temperature 0.7
      charrnn sample model.safetensors --num-samples 3 --seed 7 --stop "." --json
      charrnn sample shakespeare --interactive
      charrnn sample shakespeare --max-copy 30 --copying
      head -c 200 play.txt | charrnn sample shakespeare
    """
    if text is not None and "prompt" in given:
        raise SettingsError("the prompt is given twice, as PROMPT and with --prompt; leave one of them out")
    copying = CopyingSettings(**CopyingSettings.part_of(given))
    writing = WritingSettings(**{"prompt": text, **WritingSettings.part_of(given)})
    num_samples = given.get("num_samples", 1)
    # numpy's product library reads it once, when loaded: a single stream is slower on more threads than one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(writing.threads or 1) if num_samples > 1 else "1")

    from charrnn.inference.generation import generate
    from charrnn.inference.language_model import LanguageModel, new_seed
    from charrnn.inference.mixing import mixed
    from charrnn.models.native.build import unavailable_reason
    from charrnn.reports.terminal import is_terminal, say, write_note, write_result
    from charrnn.storage.model_file import read_model
    from charrnn.storage.run_name import find_run
    from charrnn.text.vocab import describe_char

    settings = GenerationSettings(**{"seed": new_seed(), **GenerationSettings.part_of(given)})
    if settings.stop is not None:
        _typed(settings.stop, option="--stop")
    if writing.dynamic and num_samples > 1:
        raise SettingsError("`dynamic` writes one sample at a time; leave `num_samples` out")
    if writing.interactive:
        _check_interactive(num_samples, copying)
    path = chosen_run(model)
    file = read_model(path)
    if writing.with_:
        file = mixed([file, *(read_model(find_run(name)) for name in writing.with_)], num_threads=writing.threads)
    language_model = LanguageModel(file, num_threads=writing.threads, path=path, learns=writing.dynamic)
    prompt = _prompt(writing)
    if unavailable_reason() is not None and not writing.quiet:
        write_note(f"note: no compiled kernels ({unavailable_reason()}): the same numbers, more slowly")
    unknown = [char for char in settings.stop or "" if char not in language_model.vocab]
    if unknown and not writing.quiet:
        say(f"note: --stop ends no sample: the model does not know {describe_char(unknown[0])}, and never writes it")
    predictor = language_model.predictor
    training = _training_text(language_model, path, copying, quiet=writing.quiet)
    if training is not None and copying.max_copy is not None:
        from charrnn.models.copy_limit import Continuations, CopyLimit

        index = Continuations(training.ids, copying.max_copy, predictor.num_symbols)
        when_forced = cache(partial(_say_forced, quiet=writing.quiet))  # says it once
        predictor = CopyLimit(predictor, index, when_forced=when_forced)
    if writing.interactive:
        _converse(context.obj, predictor, language_model, settings, path=path, prompt=prompt, raw=writing.raw)
        return
    started = time.perf_counter()
    made = _Made(num_samples, keeps_texts=writing.json or copying.copying)
    chunks = made.passed_on(generate(predictor, language_model.vocab, settings, prompt=prompt))
    if writing.json:
        for _ in chunks:
            pass
    else:
        _write_texts(chunks, prompt, num_samples=num_samples, raw=writing.raw)
    seconds = time.perf_counter() - started
    found = None
    if training is not None and copying.copying:
        from charrnn.inference.copying import Written, copying_of
        from charrnn.reports.copying import copying_line, copying_to_json

        written = [Written(prompt, text, ended == "length") for text, ended in zip(made.texts, made.ends, strict=True)]
        found = copying_of(written, training.ids, language_model.vocab)
        if not writing.json:
            say(copying_line(found, num_samples=num_samples))
    if writing.json:
        result = {
            "prompt": prompt,
            **settings.to_json(),
            "max_copy": copying.max_copy,
            "samples": [{"text": text, "ended": ended} for text, ended in zip(made.texts, made.ends, strict=True)],
            **({} if found is None else {"copying": copying_to_json(found)}),
        }
        # On a terminal JSON's own escapes keep control characters harmless, and the JSON valid.
        write_result(json.dumps(result, ensure_ascii=is_terminal()) + "\n")
    if writing.verbose:
        speed = f"{made.num_chars / seconds:,.0f} characters/s"
        say(f"note: seed {settings.seed}; {made.num_chars:,} characters in {seconds:.1f} s, {speed}")


def _check_interactive(num_samples: int, copying: CopyingSettings) -> None:
    """Makes sure that nothing is asked for that a prompt cannot have, and that there is a terminal.

    Raises:
        SettingsError: something is, or there is none.
    """
    if num_samples > 1:
        raise SettingsError("`interactive` writes one text at a time; leave `num_samples` out")
    if copying.copying:
        raise SettingsError("`interactive` has no end at which to report `copying`; leave one of them out")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SettingsError("`interactive` needs a terminal to read from and to write to; leave it out for a pipe")


def _converse(
    request: "StopRequest",
    predictor: "Predictor",
    model: "LanguageModel",
    settings: GenerationSettings,
    *,
    path: "Path",
    prompt: str,
    raw: bool,
) -> None:
    from charrnn.cli.interactive import Conversation, on_terminal
    from charrnn.reports.terminal import say

    name = path.stem if path.is_file() else path.name
    say(f"{model.settings.title}. Type a beginning, then Enter; Ctrl-C stops the writing, Ctrl-D leaves, /help helps.")
    with on_terminal(request, lambda: conversation.toolbar) as (ask, was_stopped):
        conversation = Conversation(
            predictor, model.vocab, settings, name=name, ask=ask, was_stopped=was_stopped, raw=raw
        )
        conversation.run(prompt)


class _Made:
    """What chunks of samples make: their characters counted and, where they are kept, their texts and ends."""

    def __init__(self, num_samples: int, *, keeps_texts: bool) -> None:
        self.texts = [""] * num_samples
        self.ends = [""] * num_samples
        self.num_chars = 0
        self._keeps_texts = keeps_texts

    def passed_on(self, chunks: "Iterator[Chunk]") -> "Iterator[Chunk]":
        """The same chunks, each seen when it is taken."""
        for chunk in chunks:
            self.num_chars += len(chunk.text)
            if self._keeps_texts:  # a text without end must not fill the memory
                self.texts[chunk.sample] += chunk.text
                self.ends[chunk.sample] = chunk.ended or ""
            yield chunk


def _training_text(
    model: "LanguageModel", path: "Path", copying: CopyingSettings, *, quiet: bool
) -> "TrainingText | None":
    """The text that the model has learned from, where an option asks for it."""
    if not copying.needs_text:
        return None

    from charrnn.inference.training_text import find_training_text
    from charrnn.reports.terminal import say

    found = find_training_text(path, vocab=model.vocab, facts=model.facts, named=copying.training_text)
    for note in found.notes if not quiet else ():
        say(f"note: {note}")
    return found


def _say_forced(*, quiet: bool) -> None:
    if quiet:
        return

    from charrnn.reports.terminal import say

    say(
        "note: --max-copy: where every symbol would have made a copy too long, one was drawn as without it",
        on_new_line=True,
    )


def _write_texts(chunks: "Iterator[Chunk]", prompt: str, *, num_samples: int, raw: bool) -> None:
    """Writes samples in order: the first unfinished one as it is made, later ones when their turn comes."""
    from charrnn.reports.style import painted, shows_colour
    from charrnn.reports.terminal import inert, is_terminal, write_result

    is_coloured = is_terminal() and not raw and shows_colour(sys.stdout)
    waiting: list[list[Chunk]] = [[] for _ in range(num_samples)]
    current = 0
    last = ""

    def write(text: str, style: str = "") -> None:
        nonlocal last
        if text:
            if style and is_coloured:
                write_result(painted(inert(text), style), raw=True)
            else:
                write_result(text, raw=raw)
            last = text[-1]

    def begin() -> None:
        if num_samples > 1:
            if last not in ("", "\n"):
                write("\n")
            write(f"--- sample {current + 1} of {num_samples} ---\n", "weak")
        write(prompt, "strong")

    begin()
    for chunk in chunks:
        waiting[chunk.sample].append(chunk)
        while current < num_samples and waiting[current]:
            taken = waiting[current]
            waiting[current] = []
            write("".join(part.text for part in taken))
            if taken[-1].ended:
                current += 1
                if current < num_samples:
                    begin()
    # A file gets the text exactly; on a terminal, and among several texts, what follows begins a line of its
    # own.
    if last != "\n" and (num_samples > 1 or is_terminal()):
        write("\n")


def _typed(text: str, *, option: str) -> str:
    """Text from the command line, refused where its bytes were no text in the terminal's encoding."""
    from charrnn.reports.terminal import inert

    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise SettingsError(f"{option} is {inert(text)!r}, which is not valid UTF-8; give it as UTF-8 text") from None
    return text


def _prompt(writing: WritingSettings) -> str:
    """The text to continue; "" for none."""
    if writing.prompt is not None and writing.prompt != "-":
        return _typed(writing.prompt, option="the prompt")
    if writing.prompt is None and not has_input(alternative="--prompt -", quiet=writing.quiet):
        return ""
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("--prompt - reads standard input, which is closed")
    if sys.stdin.isatty():
        from charrnn.reports.terminal import say

        say("reading the prompt from the terminal; end it with Ctrl-D")
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = data[error.start : error.start + 4]
        raise InputError(
            f"the prompt on standard input is not UTF-8: at byte {error.start:,} stands {bad!r}; "
            "convert it, for example with: iconv -f latin1 -t utf-8"
        ) from None
