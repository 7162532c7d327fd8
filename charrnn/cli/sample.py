"""``charrnn sample``: new text from a model, shown as it is made."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charrnn.inference.generation import Chunk


def sample(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_FILE", help="Directory of a run, or a model file.", show_default=False),
    ],
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt",
            "-p",
            metavar="TEXT",
            help="Text to go on from, printed before what follows it; - reads it from standard input as is. "
            "Without one the text begins after a line's end, or where the vocabulary has no newline after "
            "its first symbol; that is not printed.",
            show_default=False,
        ),
    ] = "",
    length: Annotated[
        int,
        typer.Option(
            "--length",
            "-n",
            help="Characters a sample (0 or more), also for models of bytes; the prompt is not counted.",
        ),
    ] = 1000,
    temperature: Annotated[
        float,
        typer.Option(help="Below 1: safer; above: wilder; 0: always the most probable symbol; to 100."),
    ] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw from the K most probable symbols only; 0: off.")] = 0,
    top_p: Annotated[
        float,
        typer.Option(help="Draw from the fewest symbols that together reach this probability; above 0 to 1 (off)."),
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(
            help="Draw from symbols at least this share as probable as the most probable; 0 (off) to 1.",
        ),
    ] = 0.0,
    seed: Annotated[
        int | None,
        typer.Option(
            help="The same seed gives the same text; without one each run differs.",
            show_default=False,
        ),
    ] = None,
    num_samples: Annotated[
        int,
        typer.Option(
            help="How many texts (1 or more), made side by side; text i is the same whatever their number.",
        ),
    ] = 1,
    stop: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="End a sample when it holds this text, the last thing printed; the prompt does not count.",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Send control characters to a terminal as they are; else they are shown as \\x1b."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, with the prompt and the continuations apart.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(help="CPU threads for many samples, 1 to 1024; default: all cores.", show_default=False),
    ] = None,
) -> None:
    """Write new text with a model.

    Text appears as it is made. Several samples come one after the other, each under a line of its own.

    \b
    Examples:
      charrnn sample checkpoints/shakespeare
      charrnn sample checkpoints/shakespeare --prompt "KING RICHARD:" --length 300 --temperature 0.7
      charrnn sample model.safetensors --num-samples 3 --seed 7 --stop "." --json
      head -c 200 play.txt | charrnn sample checkpoints/shakespeare --prompt -
    """
    # numpy's product library reads it once, when loaded: a single stream is slower on more threads than one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads or 1) if num_samples > 1 else "1")

    from charrnn.inference.generation import generate
    from charrnn.inference.language_model import load, new_seed
    from charrnn.inference.sampling import SamplingSettings
    from charrnn.models.native.build import unavailable_reason
    from charrnn.reports.terminal import is_terminal, write_note, write_result

    sampling = SamplingSettings(temperature, top_k, top_p, min_p)
    prompt = _typed(prompt, option="--prompt") if prompt != "-" else _read_prompt()
    stop = None if stop is None else _typed(stop, option="--stop")
    seed = new_seed() if seed is None else seed
    language_model = load(model, num_threads=threads)
    if unavailable_reason() is not None:
        write_note(f"charrnn: no compiled kernels ({unavailable_reason()}): the same numbers, more slowly")
    chunks = generate(
        language_model.engine,
        language_model.vocab,
        prompt=prompt,
        length=length,
        sampling=sampling,
        seed=seed,
        num_samples=num_samples,
        stop=stop,
    )
    if not as_json:
        _write_texts(chunks, prompt, num_samples=num_samples, raw=raw)
        return

    import json

    texts = [""] * num_samples
    ends = [""] * num_samples
    for chunk in chunks:
        texts[chunk.sample] += chunk.text
        ends[chunk.sample] = chunk.ended or ""
    result = {
        "prompt": prompt,
        "seed": seed,
        "length": length,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "stop": stop,
        "samples": [{"text": text, "ended": ended} for text, ended in zip(texts, ends, strict=True)],
    }
    # On a terminal JSON's own escapes keep control characters harmless, and the JSON valid.
    write_result(json.dumps(result, ensure_ascii=is_terminal()) + "\n")


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
    from charrnn.errors import SettingsError
    from charrnn.reports.terminal import inert

    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise SettingsError(f"{option} is {inert(text)!r}, which is not valid UTF-8; give it as UTF-8 text") from None
    return text


def _read_prompt() -> str:
    from charrnn.errors import InputError

    if sys.stdin is None or sys.stdin.closed:
        raise InputError("--prompt - reads standard input, which is closed")
    if sys.stdin.isatty():
        typer.echo("reading the prompt from the terminal; end it with Ctrl-D", err=True)
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = data[error.start : error.start + 4]
        raise InputError(
            f"the prompt on standard input is not UTF-8: at byte {error.start:,} stands {bad!r}; "
            "convert it, for example with: iconv -f latin1 -t utf-8"
        ) from None
