"""The page of how models read a text: packed figures of every character, and what they show in words.

A text of a million characters has some ten million figures. They are rounded to bytes, put together in chunks of equal
length, one figure of all its characters after the other, and deflated; the page inflates the chunks that it shows.
"""

import base64
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.explaining.explanation import Explanation, ModelExplanation
from charrnn.explaining.unit import Unit
from charrnn.pages.flow_chart import Line, flow_chart
from charrnn.pages.page import write_page
from charrnn.reports.explanation import LEVELS, road_in_words, symbol_name
from charrnn.units import bits, perplexity

Array = NDArray[Any]

CHUNK = 1 << 15  # characters
STEPS_PER_BIT = 16  # of surprisal and entropy; a byte reaches 15.9 bits
UNIT_STEPS = 31  # between a unit's lowest and highest value
_SHOWN_BACK = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def write_explanation_page(path: Path, explanation: Explanation) -> int:
    """Writes the page; gives its size in bytes.

    Raises:
        OutputError: it could not be written.
    """
    *others, last = (model.name for model in explanation.models)
    names = f"{', '.join(others)} and {last}" if others else last
    return write_page(
        path,
        "explanation",
        title=f"How {names} {'read' if len(explanation.models) > 1 else 'reads'} {explanation.text.name}",
        data=page_data(explanation),
        **_facts(explanation),
    )


def page_data(explanation: Explanation) -> dict[str, Any]:
    """What the page's script reads, as plain values."""
    return {
        "text": _packed(explanation.text.text.encode("utf-8", "replace")),
        "chunk": CHUNK,
        "stepsPerBit": STEPS_PER_BIT,
        "unitSteps": UNIT_STEPS,
        "levels": [[below if math.isfinite(below) else None, word] for below, word in LEVELS],
        "models": [_model_data(model) for model in explanation.models],
    }


def _model_data(model: ModelExplanation) -> dict[str, Any]:
    reading, vocab = model.reading, model.vocab
    wide = vocab.size > 256
    ids = reading.expected.astype("<u2" if wide else np.uint8)
    planes: list[Array] = [
        _in_steps(reading.nats / math.log(2) * STEPS_PER_BIT, 255),
        _in_steps(reading.entropy / math.log(2) * STEPS_PER_BIT, 255),
        # Small probabilities need finer steps than large ones: a byte holds 255 times the square root.
        *_in_steps(np.sqrt(reading.probabilities) * 255, 255).T,
        *ids.T,
    ]
    return {
        "name": model.name,
        "isWide": wide,
        "numExpected": reading.expected.shape[1],
        "symbols": [symbol_name(vocab, symbol) for symbol in range(vocab.size)],
        "chunks": _chunks(planes, reading.num_chars),
        "units": [_unit_data(model, unit) for unit in reading.units],
    }


def _unit_data(model: ModelExplanation, unit: Unit) -> dict[str, Any]:
    values = model.reading.units[unit]
    low, high = _reach(unit, values)
    steps = _in_steps((values - low) / (high - low) * UNIT_STEPS, UNIT_STEPS)
    features = [each.feature for each in model.units if each.unit == unit]
    return {
        "name": str(unit),
        "follows": " and ".join(features),
        "low": low,
        "high": high,
        "chunks": _chunks([steps], len(values)),
    }


def _reach(unit: Unit, values: Array) -> tuple[float, float]:
    """The lowest and the highest value that are told apart."""
    if unit.part == "cell":
        most = max(float(np.quantile(np.abs(values), 0.995)), 1e-3)
        return -most, most
    return (-1.0, 1.0) if unit.part in ("hidden", "candidate") else (0.0, 1.0)


def _in_steps(values: Array, most: int) -> Array:
    found: Array = np.clip(np.rint(values), 0, most).astype(np.uint8)
    return found


def _chunks(planes: list[Array], num_chars: int) -> list[str]:
    return [
        _packed(b"".join(np.ascontiguousarray(plane[at : at + CHUNK]).tobytes() for plane in planes))
        for at in range(0, num_chars, CHUNK)
    ]


def _packed(content: bytes) -> str:
    """Bytes deflated and written in letters."""
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _facts(explanation: Explanation) -> dict[str, Any]:
    """What the template shows."""
    models = [
        {
            "name": model.name,
            "title": model.title,
            "nats": f"{model.reading.nats_per_char:.3f}",
            "bits": f"{bits(model.reading.nats_per_char):.3f}",
            "perplexity": f"{perplexity(model.reading.nats_per_char):.2f}",
            "notes": model.notes,
            "units": [
                {
                    "number": list(model.reading.units).index(each.unit),
                    "name": str(each.unit),
                    "follows": each.feature,
                    "checked": f"{each.checked:+.2f}",
                    "found": f"{each.found:+.2f}",
                    "accuracy": "" if each.accuracy is None else f"{each.accuracy:.0%}",
                }
                for each in model.units
            ],
            "num_checked": f"{model.units[0].num_checked:,}" if model.units else "",
        }
        for model in explanation.models
    ]
    return {
        "text_name": explanation.text.name,
        "num_chars": f"{len(explanation.text.text):,}",
        "is_cut": explanation.text.is_cut,
        "models": models,
        "has_units": any(model.reading.units for model in explanation.models),
        **_flow_facts(explanation),
    }


def _flow_facts(explanation: Explanation) -> dict[str, Any]:
    flows = [(model, model.flow) for model in explanation.models if model.flow is not None]
    if not flows:
        return {"chart": None, "roads": [], "steps_back": [], "updates": []}
    reach = max(flow.reach for _, flow in flows)
    steps_back = [k for k in _SHOWN_BACK if k <= reach]
    lines, roads = [], []
    for number, (model, flow) in enumerate(flows):
        for road in flow.roads:
            layer = f", layer {road.layer + 1}" if flow.roads[-1].layer else ""
            name = f"{model.name}{layer}, {road.state}"
            middle = road.quantile(0.5)
            first = float(middle[0]) or 1.0
            lines.append(
                Line(
                    name,
                    f"{model.title}{layer}, {road.state}",
                    number,
                    road.state == "cell",
                    tuple((road.quantile(share) / first).tolist() for share in (0.25, 0.5, 0.75)),
                )
            )
            roads.append(
                {
                    "name": name,
                    "title": model.title,
                    "words": road_in_words(road.factor_per_step),
                    "factor": f"{road.factor_per_step:.3f}",
                    "shares": [_share(road.share_after(k)) if k <= flow.reach else "" for k in steps_back],
                }
            )
    updates = [
        {
            "name": model.name,
            "title": model.title,
            "clip": f"{flow.grad_clip:g}",
            "rows": [
                {
                    "scale": f"{each.scale:g}",
                    "nats": f"{each.loss:.2f}",
                    "factor": f"{each.factor_per_step:.2f}",
                    "norm": _norm(each.norm),
                    "clipped": _norm(each.clipped),
                }
                for each in flow.updates
            ],
        }
        for model, flow in flows
    ]
    return {"chart": flow_chart(lines), "roads": roads, "steps_back": steps_back, "updates": updates}


def _share(value: float) -> str:
    """A share in per cent, with two digits that say something."""
    return f"{100 * value:.2g} %" if 1e-6 <= value < 100 else f"{value:.0e}"


def _norm(value: float) -> str:
    return f"{value:.3g}" if 1e-3 <= value < 1e4 or not value else f"{value:.1e}"
