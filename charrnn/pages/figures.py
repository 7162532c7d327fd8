"""The figures of a report, as specifications in the grammar of Vega-Lite (Satyanarayan et al. 2017).

A specification names its data "rows" and holds none; colours are those of a page's style, as ``var(--series-1)``.
``drawn`` puts both in, for a picture outside a page.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from charrnn.errors import OutputError
from charrnn.storage.run_history import RunHistory

if TYPE_CHECKING:
    from types import ModuleType

Axis = Literal["seconds", "symbols"]
Row = dict[str, Any]
_Point = TypeVar("_Point")

KINDS = {"held-out": "held-out", "training": "training, mean", "update": "single update"}
"""What a curve may be of, and how it is named."""

NUM_COLOURS = 7
_AXES = {"seconds": "time of training", "symbols": "symbols read"}
_DASHES = {"held-out": [1, 0], "training": [5, 3], "update": [1, 0]}
_MOST_POINTS = 1500  # of a curve: more than a screen has columns
_MOST_OF_ALL = 6000  # of the curves of a kind, so that a page of many runs stays small
_LEAST_SPEED = 1 / 100  # of the run's time: what a speed is measured over, at least
_HEIGHT = 280
_POINTED = 150  # square pixels of a point that a pointer finds
_MOST_TIMES = 9  # on an axis
_SIZE = (720, 360)  # of a picture
_COLOURS = {
    "--series-1": "#0072b2",
    "--series-2": "#d55e00",
    "--series-3": "#00805f",
    "--series-4": "#a8447f",
    "--series-5": "#9a6a00",
    "--series-6": "#4d4d9c",
    "--series-7": "#5f6670",
    "--text": "#1b1f24",
    "--weak": "#59626e",
    "--rule": "#d5d9df",
    "--ground": "#ffffff",
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
        name: for files and links.
        title: for a reader.
        unit: what y is; "" for a bare number.
        is_logarithmic: whether y is.
        rows: what is drawn: run, kind and what it is called, step, seconds, symbols (None where not known), y.
        kinds: which kinds of curve there are.
        rules: y of a line across, by run.
    """

    name: str
    title: str
    unit: str
    is_logarithmic: bool = False
    rows: tuple[Row, ...] = ()
    kinds: tuple[str, ...] = ("update",)
    rules: dict[str, float] = field(default_factory=dict)


def figures_of(histories: dict[str, RunHistory], *, level: str, clips: dict[str, float]) -> list[Figure]:
    """The figures that the histories of some runs give; one without data has no rows.

    Args:
        histories: by run.
        level: what a symbol is.
        clips: the norm at which gradients are clipped, by run.
    """
    most = max(100, min(_MOST_POINTS, _MOST_OF_ALL // max(1, len(histories))))
    histories = {
        run: replace(history, updates=_thinned(history.updates, most), evaluations=_thinned(history.evaluations, most))
        for run, history in histories.items()
    }
    losses = [row for run, history in histories.items() for row in _losses(run, history)]
    norms = [row for run, history in histories.items() for row in _of_updates(run, history, "gradient_norm")]
    rates = [row for run, history in histories.items() for row in _rates(run, history)]
    speeds = [row for run, history in histories.items() for row in _speeds(run, history)]
    positive = [row for row in norms if row["y"] > 0]
    return [
        Figure(name="loss", title="Loss", unit=f"nats/{level}", rows=tuple(losses), kinds=tuple(KINDS)),
        Figure(
            name="gradient",
            title="Gradient norm before clipping",
            unit="",
            is_logarithmic=True,
            rows=tuple(positive),
            rules=clips if positive else {},
        ),
        Figure(name="learning-rate", title="Learning rate", unit="", rows=tuple(rates)),
        Figure(name="speed", title="Speed, evaluations and samples included", unit=f"{level}s/s", rows=tuple(speeds)),
    ]


def specification(figure: Figure, runs: Sequence[str], *, axis: Axis, is_logarithmic: bool = False) -> dict[str, Any]:
    """A figure in Vega-Lite, without its data.

    Args:
        figure: to be drawn.
        runs: all runs of the report, in their order, which gives the colours; one alone is coloured by kind.
        axis: what x is.
        is_logarithmic: whether x is.
    """
    x = {
        "field": axis,
        "type": "quantitative",
        "title": _AXES[axis],
        "scale": {"type": "log", "nice": False} if is_logarithmic else {"type": "linear", "nice": False, "zero": True},
        "axis": {
            "labelExpr": _CLOCK if axis == "seconds" else "format(datum.value, '~s')",
            "grid": False,
            **({"values": _times(figure)} if axis == "seconds" and not is_logarithmic else {"tickCount": 8}),
        },
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "title": figure.unit or None,
        "scale": {"type": "log"} if figure.is_logarithmic else {"type": "linear", "zero": figure.name == "speed"},
        "axis": {"tickCount": 5},
    }
    color = _color(figure, runs)
    tooltip = [
        {"field": "run", "title": "run"},
        {"field": "what", "title": "curve"},
        {"field": "y", "title": figure.unit or figure.title.lower(), "format": ".4~g"},
        *([{"field": "bits", "title": figure.unit.replace("nats", "bits"), "format": ".4f"}] * (figure.name == "loss")),
        {"field": "step", "title": "step", "format": ","},
        {"field": "clock", "title": "time"},
        *([{"field": "symbols", "title": "symbols read", "format": ","}] * (axis == "symbols")),
    ]
    shared = {"x": x, "y": y, "color": color}
    layers: list[dict[str, Any]] = []
    for kind in reversed(figure.kinds):  # the held-out loss lies above all else
        # The noise of single updates lies behind the curves of means, and is the curve where there are none.
        is_noise = kind == "update" and len(figure.kinds) > 1
        layers.append(
            {
                "name": kind,
                "transform": [{"filter": f"datum.kind === '{kind}'"}],
                "mark": {
                    "type": "line",
                    "strokeWidth": 1 if is_noise else 1.6 if kind == "update" else 2.2,
                    "opacity": 0.5 if is_noise else 1,
                    "strokeDash": _DASHES[kind],
                    "point": {"filled": True, "size": 34} if kind == "held-out" else False,
                },
                "encoding": {**shared, "detail": {"field": "run"}},
            }
        )
    for run, value in figure.rules.items():
        layers.append(
            {
                "data": {"values": [{"run": run, "y": value}]},
                "mark": {"type": "rule", "strokeDash": [2, 4], "strokeWidth": 1.5},
                "encoding": {"y": y, "color": color if len(runs) > 1 else {"value": "var(--weak)"}},
            }
        )
    layers.append(
        {
            # Not the nearest point, wherever the pointer is: Vega-Lite 6 then tells no texts of it.
            "params": [{"name": "near", "select": {"type": "point", "on": "pointerover", "clear": "pointerout"}}],
            "mark": {"type": "point", "filled": True, "size": _POINTED},
            "encoding": {
                **shared,
                "tooltip": tooltip,
                "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
            },
        }
    )
    return {
        "description": figure.title,
        "width": "container",
        "height": _HEIGHT,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"name": "rows"},
        "layer": layers,
        "config": _CONFIG,
    }


def drawn(figure: Figure, runs: Sequence[str], *, axis: Axis) -> dict[str, Any]:
    """A figure in Vega-Lite for a picture: with its data, a legend, and colours for white paper."""
    made = specification(figure, runs, axis=axis)
    made["layer"] = made["layer"][:-1]  # nobody points at a picture
    made |= {"width": _SIZE[0], "height": _SIZE[1], "title": figure.title, "background": "#ffffff"}
    made["data"] = {"values": list(figure.rows)}
    for layer in made["layer"]:
        color = layer["encoding"]["color"]
        if "legend" in color:
            color["legend"] = {"title": None, "orient": "top", "labelLimit": 300}
    plain = re.sub(r"var\((--[a-z0-9-]+)\)", lambda match: _COLOURS[match[1]], json.dumps(made, allow_nan=False))
    result: dict[str, Any] = json.loads(plain)
    return result


def vega() -> "ModuleType":
    """What draws Vega-Lite.

    Raises:
        OutputError: it is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise OutputError(
            "figures need vl-convert-python, which is not installed: pip install 'charrnn[report]'"
        ) from error
    module: ModuleType = vl_convert
    return module


def grammar(module: "ModuleType") -> str:
    """The newest version of Vega-Lite that it knows, such as "6.1"."""
    versions: list[str] = module.get_vegalite_versions()
    return max(versions, key=lambda version: [int(part) for part in version.lstrip("v").split(".")])


def _losses(run: str, history: RunHistory) -> Iterator[Row]:
    yield from _of_updates(run, history, "nats")
    for each in history.evaluations:
        yield _row(run, history, "held-out", each.step, each.seconds, each.nats)
        if each.train_nats is not None:
            yield _row(run, history, "training", each.step, each.seconds, each.train_nats)


def _of_updates(run: str, history: RunHistory, name: str) -> Iterator[Row]:
    for each in history.updates:
        value = getattr(each, name)
        if value is not None:
            yield _row(run, history, "update", each.step, each.seconds, value)


def _rates(run: str, history: RunHistory) -> Iterator[Row]:
    if history.updates:
        yield from _of_updates(run, history, "learning_rate")
        return
    for each in history.evaluations:  # of earlier versions
        if each.learning_rate is not None:
            yield _row(run, history, "update", each.step, each.seconds, each.learning_rate)


def _speeds(run: str, history: RunHistory) -> Iterator[Row]:
    """Symbols per second, each over a hundredth of the run's time or more."""
    seconds_at = {each.step: each.seconds for each in history.updates}
    seconds_at |= {each.step: each.seconds for each in history.evaluations}
    points = sorted(seconds_at.items())
    if history.symbols_per_step is None or len(points) < 2:
        return
    least = _LEAST_SPEED * points[-1][1]
    kept = points[:1]
    for step, seconds in points[1:]:
        if seconds - kept[-1][1] > least:
            kept.append((step, seconds))
    for (step_before, before), (step, seconds) in pairwise(kept):
        speed = (step - step_before) * history.symbols_per_step / (seconds - before)
        yield _row(run, history, "update", step, seconds, float(f"{speed:.4g}"))


def _row(run: str, history: RunHistory, kind: str, step: int, seconds: float, y: float) -> Row:
    per_step = history.symbols_per_step
    return {
        "run": run,
        "kind": kind,
        "what": KINDS[kind],
        "step": step,
        "seconds": max(round(seconds, 3), 0.001),  # which has a logarithm
        "symbols": None if per_step is None else step * per_step,
        "y": float(f"{y:.6g}"),
    }


def _thinned(points: tuple[_Point, ...], most: int) -> tuple[_Point, ...]:
    """As many of them as ``most``, the last among them."""
    distance = -(-len(points) // most)
    return points if distance <= 1 else points[(len(points) - 1) % distance :: distance]


def _times(figure: Figure) -> list[float]:
    """Round times for the x axis, in seconds: not the hundreds that suit plain numbers."""
    end = max((row["seconds"] for row in figure.rows), default=1.0)
    steps = (step * unit for unit in (1, 60, 3600) for step in (1, 2, 5, 10, 15, 30))
    step = next((step for step in steps if end / step <= _MOST_TIMES), 0) or 86_400 * math.ceil(
        end / 86_400 / _MOST_TIMES
    )
    return [float(number * step) for number in range(int(end / step) + 1)]


def _color(figure: Figure, runs: Sequence[str]) -> dict[str, Any]:
    if len(runs) == 1:
        kinds = list(figure.kinds)
        named = [KINDS[kind] for kind in kinds]
        colours = [f"var(--series-{number})" for number in ((1, 2, 7) if len(kinds) > 1 else (1,))]
        scale = {"domain": named, "range": colours}
        return {"field": "what", "type": "nominal", "scale": scale, "legend": None}
    scale = {"domain": list(runs), "range": [f"var(--series-{1 + i % NUM_COLOURS})" for i in range(len(runs))]}
    return {"field": "run", "type": "nominal", "scale": scale, "legend": None}


# h:mm:ss or m:ss, as everywhere.
_CLOCK = (
    "(datum.value >= 3600 ? floor(datum.value / 3600) + ':' + format(floor(datum.value / 60) % 60, '02') "
    ": '' + floor(datum.value / 60)) + ':' + format(floor(datum.value % 60), '02')"
)
_CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "title": {"color": "var(--text)", "anchor": "start", "fontSize": 15},
    "axis": {
        "labelColor": "var(--weak)",
        "titleColor": "var(--weak)",
        "domainColor": "var(--weak)",
        "tickColor": "var(--weak)",
        "gridColor": "var(--rule)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelFlush": False,
        "labelOverlap": True,
    },
    "legend": {"labelColor": "var(--text)", "labelFontSize": 13, "symbolStrokeWidth": 2.5, "symbolType": "stroke"},
    "line": {"interpolate": "linear", "strokeJoin": "round"},
}
