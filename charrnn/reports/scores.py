"""Scores as a person reads them, and as JSON."""

import math
from collections.abc import Sequence
from typing import Any

from charrnn.inference.text_scores import ScoredTexts, TextScore
from charrnn.reports.baselines import baselines_to_json, write_baselines
from charrnn.reports.terminal import write_facts, write_result, write_table
from charrnn.units import Score

# By level: the figures of a text, and those of a line.
_SHOWN = {
    "char": (
        "num_chars",
        "num_unknown",
        "nats_per_char",
        "standard_error",
        "bits_per_char",
        "bits_per_byte",
        "perplexity",
    ),
    "byte": ("num_bytes", "nats_per_byte", "standard_error_per_byte", "bits_per_byte", "perplexity_per_byte"),
}
_OF_A_LINE = {"char": ("num_chars", "nats", "nats_per_char"), "byte": ("num_bytes", "nats", "nats_per_byte")}


def scores_to_json(scored: ScoredTexts) -> dict[str, Any]:
    """The scores as plain JSON values."""
    apart = {name: _plain(each) for name, each in scored.apart.items()}
    baselines = {} if scored.baselines is None else {"baselines": baselines_to_json(scored.baselines)}
    return {**_plain(scored), **apart, **baselines}


def write_scores(scored: ScoredTexts) -> None:
    """Writes the scores as tables: first the lines, where there are some, then the texts, then what stands apart."""
    if any(text.lines for text in scored.texts):
        _write_lines(scored.texts, _OF_A_LINE[scored.level])
    _write_texts(scored)
    for each in scored.apart.values():
        write_result("\n")
        _write_texts(each)
    if scored.baselines is not None:
        write_result("\n")
        write_baselines(scored.baselines)


def _plain(scored: ScoredTexts) -> dict[str, Any]:
    texts = []
    for text in scored.texts:
        facts: dict[str, Any] = {"name": text.name, **text.score.to_json()}
        if text.lines:
            facts["lines"] = [
                {"line": line.line, "text": line.text, **line.score.to_json(), "rank": line.rank} for line in text.lines
            ]
        texts.append(facts)
    temperature = {} if scored.temperature is None else {"temperature": scored.temperature}
    return {"protocol": scored.protocol, **temperature, "files": texts, "total": scored.total.to_json()}


def _write_texts(scored: ScoredTexts) -> None:
    """One text as a list of its figures; several as a row each and one for all of them."""
    shown = _SHOWN[scored.level]
    if len(scored.texts) == 1:
        facts = [("text", scored.texts[0].name), ("protocol", scored.protocol)]
        write_facts(facts + [(name, _figure(scored.total, name)) for name in shown])
        return
    named = [*((text.name, text.score) for text in scored.texts), ("total", scored.total)]
    rows = [[name, *(_figure(score, figure) for figure in shown)] for name, score in named]
    write_table(["text", *shown], rows, align="l" + "r" * len(shown))


def _write_lines(texts: Sequence[TextScore], shown: Sequence[str]) -> None:
    """One row per line: its text and number, its rank among all lines, its nats, its content."""
    rows = [
        [
            f"{text.name}:{line.line}",
            "-" if line.rank is None else str(line.rank),
            *(_figure(line.score, name) for name in shown),
            line.text,
        ]
        for text in texts
        for line in text.lines
    ]
    write_table(["line", "rank", *shown, "text"], rows, align="lrrrrl")
    write_result("\n")


def _figure(score: Score, name: str) -> str:
    value = getattr(score, name)
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if math.isfinite(value) else "-"
