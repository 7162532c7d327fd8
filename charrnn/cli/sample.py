"""``charrnn sample``: new text from a model, shown as it is made."""

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.options import with_settings
from charrnn.errors import InputError, SettingsError
from charrnn.fields import Settings, setting
from charrnn.inference.settings import CopyingSettings, GenerationSettings
from charrnn.machine import MAX_THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charrnn.inference.generation import Chunk
    from charrnn.inference.language_model import LanguageModel
    from charrnn.inference.training_text import TrainingText


@dataclass(frozen=True, kw_only=True)
class WritingSettings(Settings):
    """What a sample goes on from, and how it is shown.

    Attributes:
        prompt: text to go on from; "-" reads it from standard input.
        raw: send control characters to a terminal as they are.
        json: print one JSON object.
        threads: CPU threads for many samples.
    """

    prompt: str = setting(
        "",
        help="Text to continue, printed first; - reads it from standard input as it is. Without a prompt the text "
        "begins as a new line does, or, where the vocabulary has no newline, after its first symbol, which is not "
        "printed.",
        metavar="TEXT",
        short="-p",
        shown_default="",
    )
    raw: bool = setting(
        False, help="Send control characters to a terminal as they are; otherwise they are shown as escapes: \\x1b."
    )
    json: bool = setting(False, help="Print one JSON object: prompt, settings, and the samples without the prompt.")
    threads: int | None = setting(
        None, help="CPU threads for many samples.", low=1, high=MAX_THREADS, shown_default="all cores"
    )

    def check_together(self) -> None:
        """Makes sure that no setting is without effect.

        Raises:
            SettingsError: one is.
        """
        if self.raw and self.json:
            raise SettingsError("--raw has no effect with --json, whose escapes keep control characters; leave one out")


@with_settings(GenerationSettings, CopyingSettings, WritingSettings)
def sample(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_FILE", help="Directory of a run, or a model file.", show_default=False, readable=False
        ),
    ],
    **given: Any,  # noqa: ANN401 - settings of every type
) -> None:
    """Write new text with a model.

    Text appears as it is made. Several samples come one after the other, each after a line with its number.

    \b
    Examples:
      charrnn sample checkpoints/shakespeare
      charrnn sample checkpoints/shakespeare --prompt "KING RICHARD:" --length 300 --temperature 0.7
      charrnn sample model.safetensors --num-samples 3 --seed 7 --stop "." --json
      charrnn sample checkpoints/shakespeare --max-copy 30 --copying
      head -c 200 play.txt | charrnn sample checkpoints/shakespeare --prompt -
    """
    copying = CopyingSettings(**CopyingSettings.part_of(given))
    writing = WritingSettings(**WritingSettings.part_of(given))
    num_samples = given.get("num_samples", 1)
    # numpy's product library reads it once, when loaded: a single stream is slower on more threads than one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(writing.threads or 1) if num_samples > 1 else "1")

    from charrnn.inference.generation import generate
    from charrnn.inference.language_model import load, new_seed
    from charrnn.models.native.build import unavailable_reason
    from charrnn.reports.terminal import is_terminal, say, write_note, write_result
    from charrnn.text.vocab import describe_char

    settings = GenerationSettings(**{"seed": new_seed(), **GenerationSettings.part_of(given)})
    if settings.stop is not None:
        _typed(settings.stop, option="--stop")
    prompt = _typed(writing.prompt, option="--prompt") if writing.prompt != "-" else _read_prompt()
    language_model = load(model, num_threads=writing.threads)
    if unavailable_reason() is not None:
        write_note(f"charrnn: no compiled kernels ({unavailable_reason()}): the same numbers, more slowly")
    unknown = [char for char in settings.stop or "" if char not in language_model.vocab]
    if unknown:
        say(f"note: --stop ends no sample: the model does not know {describe_char(unknown[0])}, and never writes it")
    predictor = language_model.predictor
    training = _training_text(language_model, model, copying)
    if training is not None and copying.max_copy is not None:
        from charrnn.models.copy_limit import Continuations, CopyLimit

        index = Continuations(training.ids, copying.max_copy, predictor.num_symbols)
        predictor = CopyLimit(predictor, index, when_forced=cache(_say_forced))  # says it once
    chunks = generate(predictor, language_model.vocab, settings, prompt=prompt)
    made = _Made(num_samples)
    if writing.json:
        made.take_all(chunks)
    else:
        taken = made.passed_on(chunks) if copying.copying else chunks
        _write_texts(taken, prompt, num_samples=num_samples, raw=writing.raw)
    found = None
    if training is not None and copying.copying:
        from charrnn.inference.copying import Written, copying_of
        from charrnn.reports.copying import copying_line, copying_to_json

        written = [Written(prompt, text, ended == "length") for text, ended in zip(made.texts, made.ends, strict=True)]
        found = copying_of(written, training.ids, language_model.vocab)
        if not writing.json:
            say(copying_line(found, num_samples=num_samples))
    if writing.json:
        import json

        result = {
            "prompt": prompt,
            **settings.to_json(),
            "max_copy": copying.max_copy,
            "samples": [{"text": text, "ended": ended} for text, ended in zip(made.texts, made.ends, strict=True)],
            **({} if found is None else {"copying": copying_to_json(found)}),
        }
        # On a terminal JSON's own escapes keep control characters harmless, and the JSON valid.
        write_result(json.dumps(result, ensure_ascii=is_terminal()) + "\n")


class _Made:
    """The texts of samples and why each ended, gathered from their chunks."""

    def __init__(self, num_samples: int) -> None:
        self.texts = [""] * num_samples
        self.ends = [""] * num_samples

    def passed_on(self, chunks: "Iterator[Chunk]") -> "Iterator[Chunk]":
        """The same chunks, each kept when it is taken."""
        for chunk in chunks:
            self.texts[chunk.sample] += chunk.text
            self.ends[chunk.sample] = chunk.ended or ""
            yield chunk

    def take_all(self, chunks: "Iterator[Chunk]") -> None:
        """Keeps all chunks."""
        for _ in self.passed_on(chunks):
            pass


def _training_text(model: "LanguageModel", path: Path, copying: CopyingSettings) -> "TrainingText | None":
    """The text that the model has learned from, where an option asks for it."""
    if not copying.needs_text:
        return None

    from charrnn.inference.training_text import find_training_text
    from charrnn.reports.terminal import say

    found = find_training_text(path, vocab=model.vocab, facts=model.facts, named=copying.training_text)
    for note in found.notes:
        say(f"note: {note}")
    return found


def _say_forced() -> None:
    from charrnn.reports.terminal import say

    say(
        "note: --max-copy: where every symbol would have made a copy too long, one was drawn as without it",
        on_new_line=True,
    )


def _write_texts(chunks: "Iterator[Chunk]", prompt: str, *, num_samples: int, raw: bool) -> None:
    """Writes samples in order: the first unfinished one as it is made, later ones when their turn comes."""
    from charrnn.reports.terminal import is_terminal, write_result

    waiting: list[list[Chunk]] = [[] for _ in range(num_samples)]
    current = 0
    last = ""

    def write(text: str) -> None:
        nonlocal last
        if text:
            write_result(text, raw=raw)
            last = text[-1]

    def begin() -> None:
        if num_samples > 1:
            if last not in ("", "\n"):
                write("\n")
            write(f"--- sample {current + 1} of {num_samples} ---\n")
        write(prompt)

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


def _read_prompt() -> str:
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
