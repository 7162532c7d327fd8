"""How models read a text, on a terminal: colours where there are some, and the same in words and marks."""

import io
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.explaining.explanation import Explanation, ModelExplanation
from charrnn.explaining.gradient_flow import GradientFlow
from charrnn.explaining.unit import FoundUnit
from charrnn.reports.style import fitted, num_columns, shows_colour
from charrnn.reports.terminal import inert, is_terminal, write_facts, write_result, write_table
from charrnn.text.vocab import Vocab
from charrnn.units import bits, perplexity

LEVELS = ((1.0, "expected"), (3.0, "plausible"), (6.0, "surprising"), (math.inf, "very surprising"))
"""Words for surprisals below so many bits."""

_STYLES = ("", "black on color(223)", "black on color(215)", "black on color(202)")
_VALUE_STYLES = ("black on color(39)", "black on color(117)", "", "black on color(223)", "black on color(208)")
_MARKS = "=- +#"  # of a unit's value, from far below its middle to far above
_NUM_PLACES, _NUM_PAINTED, _PAINTED_CHARS = 8, 2, 400
_LEAST_BITS_MARKED = 3.0
_CONTEXT = 16  # characters before a place
_BACK = (0, 1, 2, 3, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)  # steps that the chart shows
_DECADES = 10  # of the chart
_BAR = 30


def level_of(surprisal_bits: float) -> int:
    """Which of ``LEVELS`` a surprisal is of.

    >>> LEVELS[level_of(4.2)][1]
    'surprising'
    """
    return next(number for number, (below, _) in enumerate(LEVELS) if surprisal_bits < below or math.isinf(below))


def symbol_name(vocab: Vocab, symbol: int) -> str:
    """A symbol in sight: a character by itself, one that cannot be seen by its name, a byte of a character in hex.

    >>> [symbol_name(Vocab.bytes(), each) for each in (65, 10, 32, 0xC3)]
    ['A', 'newline', 'space', '\\\\xc3']
    """
    if vocab.level == "byte" and symbol >= 0x80:
        return f"\\x{symbol:02x}"
    char = vocab.decode([symbol])
    return {"\n": "newline", " ": "space", "\t": "tab", "\r": "carriage return"}.get(char, inert(char))


def _quoted(name: str) -> str:
    """A symbol among words: one that is no letter or figure between quotes."""
    return name if name.isalnum() or len(name) > 1 else f"'{name}'"


def write_explanation(explanation: Explanation, *, num_shown: int) -> None:
    """Writes how models read a text to standard output.

    Args:
        explanation: of the text.
        num_shown: characters of the text that are shown whole; places and units are from all that was read.
    """
    for number, model in enumerate(explanation.models):
        if number:
            write_result("\n")
        _write_model(explanation, model, num_shown)
    flows = [(model.name, model.flow) for model in explanation.models if model.flow is not None]
    if flows:
        _write_flows(flows)


def _write_model(explanation: Explanation, model: ModelExplanation, num_shown: int) -> None:
    reading, text = model.reading, explanation.text
    shown = min(num_shown, reading.num_chars)
    per_char = reading.nats_per_char
    share = "" if shown == reading.num_chars else f", of which the first {shown:,} are shown"
    write_facts(
        [
            ("text", f"{text.name}: {reading.num_chars:,} characters{share}"),
            ("model", f"{model.name}: {model.title}"),
            ("nats_per_char", f"{per_char:.4f}"),
            ("bits_per_char", f"{bits(per_char):.4f}"),
            ("perplexity", f"{perplexity(per_char):.4f}"),
        ]
    )
    write_result("\n")
    in_bits = reading.nats / math.log(2)
    levels = np.array([level_of(value) for value in in_bits[:shown]])
    marks = [str(min(round(value), 9)) if value >= _LEAST_BITS_MARKED else " " for value in in_bits[:shown]]
    _write_painted(text.text[:shown], levels, _STYLES, marks)
    if _has_colour():
        names = [f"{word} <{below:g}" for below, word in LEVELS[:-1]]
        names.append(f"{LEVELS[-1][1]} {LEVELS[-2][0]:g}+ bits")
        _write_legend(names, _STYLES)
    else:
        least = f"{_LEAST_BITS_MARKED:g}"
        _tell(f"A digit under a character is its surprisal in bits, from {least}; 9 is 9 and more.")
    _write_places(text.text, model, in_bits)
    if model.units:
        _write_units(text.text, model)
    for note in model.notes:
        _tell(f"\n{inert(note)}")


def _write_places(text: str, model: ModelExplanation, in_bits: NDArray[np.float64]) -> None:
    """The characters that surprised most, in the order of the text."""
    order = np.argsort(-in_bits, kind="stable")[:_NUM_PLACES]
    rows = []
    for at in sorted(int(each) for each in order if in_bits[each] > 0):
        line = text.count("\n", 0, at) + 1
        column = at - text.rfind("\n", 0, at)
        reading = model.reading
        pairs = zip(reading.expected[at], reading.probabilities[at], strict=True)
        expected = ", ".join(f"{_quoted(symbol_name(model.vocab, int(symbol)))} {p:.0%}" for symbol, p in pairs)
        before = text[max(0, at - _CONTEXT) : at]
        found = f"{before}[{text[at]}]"
        rows.append(
            [
                f"{line}:{column}",
                found,
                f"{in_bits[at]:.1f}",
                f"{model.reading.entropy[at] / math.log(2):.1f}",
                expected,
            ]
        )
    if rows:
        _tell("\nWhat surprised most (line:column), and what was expected instead:")
        write_table(["place", "character", "bits", "entropy", "expected"], rows, align="llrrl")


def _write_units(text: str, model: ModelExplanation) -> None:
    checked = model.units[0].num_checked
    _tell(f"\nUnits that follow something, found on the first half; figures from the {checked:,} characters after it:")
    rows = [
        [str(each.unit), each.feature, f"{each.checked:+.2f}", "-" if each.accuracy is None else f"{each.accuracy:.2f}"]
        for each in model.units
    ]
    write_table(["unit", "follows", "correlation", "balanced_accuracy"], rows, align="llrr")
    for each in model.units[:_NUM_PAINTED]:
        _write_unit(text, model, each)


def _write_unit(text: str, model: ModelExplanation, found: FoundUnit) -> None:
    """A unit painted over the beginning of the text, told in fifths of what its values reach."""
    values = model.reading.units[found.unit]
    low, high = np.quantile(values, [0.02, 0.98])
    shares = (values[:_PAINTED_CHARS] - low) / max(high - low, 1e-9)
    levels = np.clip((shares * len(_MARKS)).astype(int), 0, len(_MARKS) - 1)
    _tell(f"\n{found.unit}, which follows: {found.feature}")
    _write_painted(text[:_PAINTED_CHARS], levels, _VALUE_STYLES, [_MARKS[level] for level in levels])
    edges = np.linspace(low, high, len(_MARKS) + 1)
    if _has_colour():
        names = [f"{low:.1f} to {high:.1f}" for low, high in pairwise(edges)]
        _write_legend(names, _VALUE_STYLES)
    else:
        _tell(
            f"Marks under a character: = below {edges[1]:.1f}, - below {edges[2]:.1f}, + above {edges[3]:.1f}, "
            f"# above {edges[4]:.1f}."
        )


def _write_flows(flows: Sequence[tuple[str, GradientFlow]]) -> None:
    _tell("\nHow far gradients reach: the norm of dL_t/dh_(t-k), as a share of that at k = 0 (medians)")
    for name, flow in flows:
        for road in flow.roads:
            median = road.quantile(0.5)
            quartiles = road.quantile(0.25), road.quantile(0.75)
            _tell(f"\n{name}, layer {road.layer + 1}, {road.state}: {road_in_words(road.factor_per_step)}")
            first = median[0] or 1.0
            rows = []
            for back in [k for k in _BACK if k < len(median)]:
                share = median[back] / first
                between = " to ".join(f"{each[back] / first:.1e}" for each in quartiles)
                rows.append([str(back), f"{share:.1e}", between, _bar(share)])
            write_table(["k", "share", "quartiles", f"1e-{_DECADES} to 1"], rows, align="rrll")
        _tell(f"\n{name} with its recurrent matrices made larger or smaller, clipped at {flow.grad_clip:g}:")
        rows = [
            [
                f"{each.scale:g}",
                f"{each.loss:.3f}",
                f"{each.factor_per_step:.3f}",
                f"{each.norm:.2e}",
                f"{each.clipped:.2e}",
            ]
            for each in flow.updates
        ]
        write_table(["times", "nats_per_char", "factor_per_step", "gradient_norm", "clipped"], rows, align="rrrrr")


def road_in_words(factor_per_step: float) -> str:
    """What becomes of a gradient on its way back.

    >>> road_in_words(0.5)
    'it vanishes: a tenth is left of it every 3 steps'
    >>> road_in_words(2)
    'it explodes: ten times as much every 3 steps'
    """
    if factor_per_step <= 0:
        return "nothing is left at its end"
    steps = math.log(10) / max(abs(math.log(factor_per_step)), 1e-6)
    if steps > 1000:
        return "it stays as it is"
    if factor_per_step > 1:
        return f"it explodes: ten times as much every {steps:.0f} steps"
    return f"it vanishes: a tenth is left of it every {steps:.0f} steps"


def _bar(share: float) -> str:
    """A bar on a scale of powers of ten."""
    length = 0.0 if share <= 0 else min(max(1 + math.log10(share) / _DECADES, 0.0), 1.0)
    return ("█" if is_terminal() else "#") * round(length * _BAR)


def _tell(words: str) -> None:
    """A sentence; cut into lines on a terminal."""
    write_result((fitted(words, num_columns(sys.stdout)) if is_terminal() else words) + "\n")


def _has_colour() -> bool:
    return is_terminal() and shows_colour(sys.stdout)


def _lines(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Begins and ends of the lines of a text, none of more characters than the width; ends without newlines."""
    begin = 0
    for line in text.split("\n"):
        for at in range(0, max(len(line), 1), width):
            yield begin + at, begin + min(at + width, len(line))
        begin += len(line) + 1


def _write_painted(text: str, levels: NDArray[Any], styles: Sequence[str], marks: Sequence[str]) -> None:
    """The text, each character in the style of its level; without colours with a line of marks under each line."""
    shown = "".join(" " if char in "\t\r" or (not char.isprintable() and char != "\n") else char for char in text)
    width = max(num_columns(sys.stdout), 20) if is_terminal() else 100
    if not _has_colour():
        for begin, end in _lines(shown, width):
            under = "".join(marks[begin:end]).rstrip()
            write_result(f"{shown[begin:end]}\n" + (f"{under}\n" if under else ""))
        return
    from rich.console import Console
    from rich.text import Text

    rendered = io.StringIO()
    console = Console(file=rendered, color_system="256", force_terminal=True, width=width)
    for begin, end in _lines(shown, width):
        line = Text()
        for at in range(begin, end):
            line.append(shown[at], style=styles[levels[at]])
        if end < len(text) and text[end] == "\n" and styles[levels[end]]:
            line.append("↵" if end - begin < width else "", style=styles[levels[end]])
        console.print(line, soft_wrap=True)
    write_result(rendered.getvalue(), raw=True)


def _write_legend(names: Sequence[str], styles: Sequence[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    rendered = io.StringIO()
    legend = Text("   ").join(Text(f" {name} ", style=style) for name, style in zip(names, styles, strict=True))
    Console(file=rendered, color_system="256", force_terminal=True, width=num_columns(sys.stdout)).print(legend)
    write_result(rendered.getvalue(), raw=True)
