"""A model in ten lines: what it is, what it says of its text, its score and its training, and how to use it."""

from math import prod
from pathlib import Path
from typing import Any

from charrnn.errors import SettingsError
from charrnn.models.shape import MixtureSettings, Shape
from charrnn.reports.part import UNITS, held_out_part, num_scored
from charrnn.storage.run_summary import stated_score, stated_seconds
from charrnn.text.vocab import Vocab
from charrnn.training.settings import LENGTHS, TrainingSettings
from charrnn.units import bits, perplexity

_SHOWN_NAMES = 3
_SHOWN_CHARS = 60
_LEAST_RUN = 4
_BYTES = {"float32": 4, "float64": 8, "int64": 8}


def description_rows(
    settings: Shape, vocab: Vocab, claims: dict[str, Any], *, file: Path, use: str, num_nonfinite: int = 0
) -> list[tuple[str, str]]:
    """The lines, for ``write_facts``.

    Args:
        settings: the model's shape.
        vocab: its symbols.
        claims: what its file says of itself, which may be anything.
        file: where it is.
        use: the run or file as it is typed after a command.
        num_nonfinite: how many of its weights are NaN or infinite.
    """
    size = sum(_BYTES[dtype] * prod(shape) for dtype, shape in settings.tensors().values()) / 1e6
    rows = [("model", f"{settings.title}: {settings.num_parameters:,} weights, {size:,.1f} MB")]
    if num_nonfinite:
        rows.append(("", f"{num_nonfinite:,} weights are not finite: it can neither write nor score; train again"))
    rows.append(("alphabet", _alphabet(vocab)))
    told = _told(claims, vocab.level)
    members = settings.members if isinstance(settings, MixtureSettings) else ()
    for member, facts in zip(members, _list(claims.get("members")), strict=False):
        own = _told(facts, vocab.level) if isinstance(facts, dict) else []
        told += [f"{member.short_title}: {line}" for line in own if line]
    said = [line for line in told if line] or ["nothing of its text, its score or its training"]
    rows += [("claims" if number == 0 else "", line) for number, line in enumerate(said)]
    rows += [
        ("file", str(file)),
        ("use", f"charrnn sample {use}"),
        ("", f"charrnn perplexity {use} TEXT"),
        ("more", f"charrnn inspect {use} --all"),
    ]
    return rows


def _told(claims: dict[str, Any], level: str) -> list[str]:
    return [_text(claims, level), *_score(claims, level), _training(claims), _counting(claims)]


def _counting(claims: dict[str, Any]) -> str:
    counting = claims.get("counting")
    memory = _count(counting.get("memory")) if isinstance(counting, dict) else None
    if memory is None:
        return ""
    seconds = stated_seconds(claims)
    took = "" if seconds is None else f" in {seconds:.1f} s"
    return f"counted{took} with at most {memory:,} MiB"


def _alphabet(vocab: Vocab) -> str:
    if vocab.level == "byte":
        return "the 256 bytes: it knows every text"
    return f"{vocab.size:,} characters: {_shown_symbols(vocab.symbols)}"


def _shown_symbols(symbols: str) -> str:
    """Ascending characters in short: blanks by name, letters and digits that follow each other as a-z.

    >>> _shown_symbols("\\n !.0123456789ACDabcdef")
    '\\\\n space !.0-9ACDa-f'
    """
    named = ["space" if char == " " else ascii(char)[1:-1] for char in symbols if not char.isprintable() or char == " "]
    runs: list[str] = []
    for char in symbols:
        if not char.isprintable() or char == " ":
            continue
        if runs and char.isalnum() and runs[-1][-1].isalnum() and ord(char) == ord(runs[-1][-1]) + 1:
            runs[-1] += char
        else:
            runs.append(char)
    joined = "".join(run if len(run) < _LEAST_RUN else f"{run[0]}-{run[-1]}" for run in runs)
    shown = " ".join([*named, joined])
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."


def _text(claims: dict[str, Any], level: str) -> str:
    corpus = claims.get("corpus")
    if not isinstance(corpus, dict):
        return ""
    names = [name[:_SHOWN_CHARS] for name in _list(corpus.get("names")) if isinstance(name, str)]
    shown = ", ".join(names[:_SHOWN_NAMES]) + (" ..." if len(names) > _SHOWN_NAMES else "")
    num_symbols, num_held_out = _count(corpus.get("num_symbols")), _count(corpus.get("num_held_out"))
    sizes = [] if num_symbols is None else [f"{num_symbols:,} {UNITS[level]}"]
    sizes += [] if num_held_out is None else [f"{num_held_out:,} held out"]
    return f"it learned from {': '.join(filter(None, [shown, ', '.join(sizes)]))}" if shown else ""


def _score(claims: dict[str, Any], level: str) -> list[str]:
    score = stated_score(claims.get("held_out"))
    if score is None:
        return []
    nats = score.nats_per_symbol
    error = score.standard_error_per_byte if level == "byte" else score.standard_error
    corpus = claims.get("corpus")
    num_held_out = _count(corpus.get("num_held_out")) if isinstance(corpus, dict) else None
    part = held_out_part(num_scored(score), num_held_out or num_scored(score), level=level)
    per_symbol = f"perplexity {perplexity(nats):.3f}" + (" per byte" if level == "byte" else "")
    step = _count(claims.get("step"))
    by = "" if step is None else f", by the model of step {step:,}"
    loss = f"scored {nats:.4f} nats/{level} ± {error:.4f}, {bits(nats):.4f} bits/{level}, {per_symbol}"
    return [loss, f"on {part}{by}"]


def _training(claims: dict[str, Any]) -> str:
    try:
        recipe = TrainingSettings.from_json(claims.get("training"))
    except SettingsError:
        return ""
    length = next((f"{getattr(recipe, name):g} {name}" for name in LENGTHS if getattr(recipe, name) is not None), "")
    sizes = f"batch size {recipe.batch_size}, bptt {recipe.bptt}, learning rate {recipe.learning_rate:.3g}"
    return f"in {length}, seed {recipe.seed}, {sizes}"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 62 else None
