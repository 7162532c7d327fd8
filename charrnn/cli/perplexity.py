"""``charrnn perplexity``: how well a model predicts texts, in nats, bits and as a perplexity."""

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from charrnn.inference.language_model import LanguageModel
    from charrnn.text.corpus import Encoded
    from charrnn.text.source import Source
    from charrnn.text.vocab import Vocab
    from charrnn.units import Score


class Unknown(StrEnum):
    """What becomes of characters that the model's vocabulary lacks."""

    ERROR = "error"
    SKIP = "skip"


class _Scored(NamedTuple):
    name: str
    score: "Score"
    lines: list[dict[str, Any]]


def perplexity(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_FILE", help="Directory of a run, or a model file.", show_default=False),
    ],
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...",
            help="Text files, each scored from its own start; - is standard input.",
            show_default=False,
        ),
    ],
    windowed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Begin anew every N predictions, which is how models of a fixed context are scored.",
            show_default=False,
        ),
    ] = None,
    by_line: Annotated[
        bool,
        typer.Option(
            "--by-line",
            help="Score each line by itself, as what follows a line's end, and rank the lines: 1 is the most probable.",
        ),
    ] = False,
    streams: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Split each text into N streams read side by side, each warmed up on the 512 symbols before "
            "it: faster, and approximate.",
            show_default=False,
        ),
    ] = None,
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="Report apart the score of a model that goes on learning from each text as it is scored "
            "(dynamic evaluation); slow.",
        ),
    ] = False,
    fit_temperature: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Report apart the score at the softmax temperature that suits this other text best.",
            show_default=False,
        ),
    ] = None,
    unknown: Annotated[
        Unknown,
        typer.Option(help="Characters that the model does not know: an error, or passed over and counted."),
    ] = Unknown.ERROR,
    encoding: Annotated[str, typer.Option(metavar="NAME", help="Encoding of the texts.")] = "utf-8",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            help="CPU threads for streams side by side, 1 to 1024; default: all cores.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Score texts with a model.

    Exact unless asked otherwise: the state is carried from a text's first character to its last, the first
    character is given and every other predicted, so N characters give N - 1 predictions.

    \b
    Examples:
      charrnn perplexity checkpoints/shakespeare held-out.txt
      charrnn perplexity model.safetensors part-1.txt part-2.txt --json
      charrnn perplexity checkpoints/shakespeare held-out.txt --windowed 256
      charrnn perplexity checkpoints/shakespeare held-out.txt --dynamic --fit-temperature other.txt
      cat candidates.txt | charrnn perplexity checkpoints/shakespeare - --by-line
    """
    from charrnn.errors import InputError, SettingsError

    if (windowed is not None) + by_line + (streams is not None) > 1:
        raise SettingsError("--windowed, --by-line and --streams are different ways to score; give one of them")
    if (dynamic or fit_temperature is not None) and (windowed or by_line or streams):
        raise SettingsError(
            "--dynamic and --fit-temperature stand beside the exact score; leave the other protocol out"
        )

    from charrnn.inference.language_model import load
    from charrnn.models.native.build import unavailable_reason
    from charrnn.reports.terminal import is_terminal, write_note, write_result
    from charrnn.text.corpus import encode_text_file
    from charrnn.units import ZERO_SCORE

    language_model = load(model, num_threads=threads)
    if unavailable_reason() is not None:
        write_note(f"charrnn: no compiled kernels ({unavailable_reason()}): the same numbers, more slowly")
    vocab = language_model.vocab
    encoded: list[Encoded] = []
    if by_line:
        scored = _score_by_line(language_model, texts, encoding=encoding, unknown=unknown)
    else:
        encoded = [each for text in texts for each in encode_text_file(text, vocab, encoding=encoding, unknown=unknown)]
        scored = _score_whole(language_model, encoded, windowed=windowed, streams=streams)
    files = [{"name": each.name, **_facts(each.score)} | ({"lines": each.lines} if by_line else {}) for each in scored]
    total = sum((each.score for each in scored), ZERO_SCORE)
    if not total.num_predictions:
        raise InputError(
            f"nothing to score in {', '.join(repr(file['name']) for file in files)}: the first symbol is given, "
            "so a text needs at least two that the model knows"
        )
    protocol = (
        "by-line" if by_line else f"windowed-{windowed}" if windowed else f"streams-{streams}" if streams else "exact"
    )
    lines = sorted((line for file in files for line in file.get("lines", [])), key=lambda line: line["nats"])
    for rank, line in enumerate(lines, 1):
        line["rank"] = rank
    apart: dict[str, Any] = {}
    if dynamic or fit_temperature is not None:
        fitting = (
            []
            if fit_temperature is None
            else encode_text_file(fit_temperature, vocab, encoding=encoding, unknown=unknown)
        )
        if len(fitting) > 1:
            raise InputError(f"{fit_temperature!r} names {len(fitting)} texts; name one to fit the temperature on")
        apart = _score_apart(model, encoded, fitting, threads=threads, dynamic=dynamic)
    if as_json:
        import json

        result = {"model": str(model), "protocol": protocol, "files": files, "total": _facts(total), **apart}
        written = json.dumps(_without_nan(result), ensure_ascii=is_terminal(), allow_nan=False)
        write_result(written + "\n")
        return
    if by_line:
        _write_lines(files)
    _write_scores(files, _facts(total), protocol=protocol)
    for each in apart.values():
        write_result("\n")
        _write_scores(each["files"], each["total"], protocol=each["protocol"])


def _score_whole(
    model: "LanguageModel", texts: "list[Encoded]", *, windowed: int | None, streams: int | None
) -> "list[_Scored]":
    """Each text from its first symbol to its last."""
    import os
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import replace

    from charrnn.inference.scoring import score_ids, score_streams, score_windowed

    def score(ids: "NDArray[Any]") -> "Score":
        if windowed is not None:
            return score_windowed(model.engine, ids, vocab=model.vocab, window=windowed)
        if streams is not None:
            return score_streams(model.engine, ids, vocab=model.vocab, num_streams=streams)
        return score_ids(model.engine, ids, vocab=model.vocab)

    # One exact stream keeps one core busy: several texts go side by side. Many streams share the cores already.
    with ThreadPoolExecutor((os.cpu_count() or 1) if windowed is streams is None else 1) as pool:
        scores = list(pool.map(score, (each.ids for each in texts)))
    return [
        _Scored(each.name, replace(score, num_unknown=each.num_unknown), [])
        for each, score in zip(texts, scores, strict=True)
    ]


def _score_apart(
    path: Path, texts: "list[Encoded]", fitting: "list[Encoded]", *, threads: int | None, dynamic: bool
) -> dict[str, Any]:
    """Scores by more than the model as it is, by name: "temperature" where there is a text to fit it on, "dynamic"."""
    from dataclasses import replace

    from charrnn.inference.dynamic import score_dynamic
    from charrnn.inference.engine import open_engine
    from charrnn.inference.scoring import score_ids
    from charrnn.inference.temperature import fit_temperature, with_temperature
    from charrnn.storage.model_file import read_model
    from charrnn.units import ZERO_SCORE

    model = read_model(path)
    settings, weights, vocab = model.settings, model.weights, model.vocab
    found: dict[str, Any] = {}

    def report(name: str, protocol: str, score: "Callable[[NDArray[Any]], Score]", **more: object) -> None:
        scores = [replace(score(each.ids), num_unknown=each.num_unknown) for each in texts]
        files = [{"name": each.name, **_facts(s)} for each, s in zip(texts, scores, strict=True)]
        found[name] = {"protocol": protocol, **more, "files": files, "total": _facts(sum(scores, ZERO_SCORE))}

    if fitting:
        value = fit_temperature(settings, weights, fitting[0].ids, vocab=vocab)
        engine = open_engine(settings, with_temperature(weights, value), num_threads=threads)
        protocol = f"exact, temperature {value:.4f} fitted on {fitting[0].name}"
        report("temperature", protocol, lambda ids: score_ids(engine, ids, vocab=vocab), temperature=value)
    if dynamic:
        report("dynamic", "dynamic", lambda ids: score_dynamic(settings, weights, ids, vocab=vocab))
    return found


def _score_by_line(model: "LanguageModel", texts: list[str], *, encoding: str, unknown: Unknown) -> "list[_Scored]":
    """Each file that ``texts`` name, line by line."""
    from dataclasses import replace

    from charrnn.inference.scoring import score_lines
    from charrnn.text.source import find_sources
    from charrnn.units import ZERO_SCORE

    scored = []
    for source in find_sources(texts, level=model.vocab.level, encoding=encoding).sources:
        shown, ids, num_unknown = _encode_lines(source, model.vocab, encoding=encoding, unknown=unknown)
        scores = [
            replace(score, num_unknown=count)
            for score, count in zip(score_lines(model.engine, ids, vocab=model.vocab), num_unknown, strict=True)
        ]
        lines = [
            {"line": number, "text": line, **_facts(score)}
            for number, (line, score) in enumerate(zip(shown, scores, strict=True), 1)
        ]
        scored.append(_Scored(source.name, sum(scores, ZERO_SCORE), lines))
    return scored


def _encode_lines(
    source: "Source", vocab: "Vocab", *, encoding: str, unknown: Unknown
) -> "tuple[list[str], list[NDArray[Any]], list[int]]":
    """The lines of a text without their ends, their symbols with them, and how many characters are left out."""
    import numpy as np

    from charrnn.errors import InputError
    from charrnn.text.vocab import UnknownCharacterError

    if vocab.level == "byte":
        rows = b"".join(source.chunks()).split(b"\n")
        rows = [row + b"\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])
        shown = [row.decode("utf-8", "replace").removesuffix("\n") for row in rows]
        return shown, [np.frombuffer(row, np.uint8) for row in rows], [0] * len(rows)
    shown = "".join(source.texts(encoding)).split("\n")
    ends = ["\n" if "\n" in vocab else ""] * (len(shown) - 1) + [""]
    if not shown[-1]:
        shown.pop()
    encoded, num_unknown = [], []
    for number, (line, end) in enumerate(zip(shown, ends, strict=False), 1):
        known = line + end
        try:
            ids = vocab.encode(known)
        except UnknownCharacterError as error:
            if unknown is Unknown.ERROR:
                char = known[error.position]
                raise InputError(
                    f"unknown character {char!a} (U+{ord(char):04X}) in {source.name!r}, line {number}, column "
                    f"{error.position + 1}: the model's vocabulary lacks it; --unknown skip leaves such characters out"
                ) from None
            known = "".join(symbol for symbol in known if symbol in vocab)
            ids = vocab.encode(known)
        encoded.append(ids)
        num_unknown.append(len(line + end) - len(known))
    return shown, encoded, num_unknown


def _facts(score: "Score") -> dict[str, Any]:
    return {
        "num_chars": score.num_chars,
        "num_bytes": score.num_bytes,
        "num_unknown": score.num_unknown,
        "num_predictions": score.num_predictions,
        "nats": score.nats,
        "nats_per_char": score.nats_per_char,
        "standard_error": score.standard_error,
        "bits_per_char": score.bits_per_char,
        "bits_per_byte": score.bits_per_byte,
        "perplexity": score.perplexity,
    }


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - plain JSON, as deep as it goes
    """The value with null for what is no number: JSON knows neither nan nor infinity."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_scores(files: list[dict[str, Any]], total: dict[str, Any], *, protocol: str) -> None:
    """One text as a list of its figures; several as a row each and one for all of them."""
    from charrnn.reports.terminal import write_table

    figures = [key for key in total if key not in ("num_bytes", "num_predictions", "nats")]
    if len(files) == 1:
        rows = [["text", files[0]["name"]], ["protocol", protocol]]
        rows += [[key, _figure(total[key])] for key in figures]
        write_table(["", ""], rows, align="ll")
        return
    rows = [[row["name"], *(_figure(row[key]) for key in figures)] for row in [*files, {"name": "total", **total}]]
    write_table(["text", *figures], rows, align="l" + "r" * len(figures))


def _write_lines(files: list[dict[str, Any]]) -> None:
    """A row a line: where it stands, its place among all lines, its nats, its text."""
    from charrnn.reports.terminal import write_result, write_table

    rows = [
        [
            f"{file['name']}:{line['line']}",
            str(line["rank"]),
            *(_figure(line[key]) for key in ("num_chars", "nats", "nats_per_char")),
            line["text"],
        ]
        for file in files
        for line in file["lines"]
    ]
    write_table(["line", "rank", "num_chars", "nats", "nats_per_char", "text"], rows, align="lrrrrl")
    write_result("\n")


def _figure(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if math.isfinite(value) else "-"
