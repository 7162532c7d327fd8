"""The page of a run, or of several over each other: figures, scores, samples, settings, commands to repeat them."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from charrnn.fields import Setting
from charrnn.models.settings import ModelSettings
from charrnn.pages.figures import KINDS, NUM_COLOURS, Figure, drawn, figures_of, grammar, specification, vega
from charrnn.pages.page import write_page
from charrnn.reports.part import held_out_part, num_scored
from charrnn.reports.progress import clock
from charrnn.reports.runs import comparison, known_facts, plain_value, problem_notes, score_notes, setting_names
from charrnn.storage.run_history import RunHistory, history_of
from charrnn.storage.run_summary import RunSummary
from charrnn.text.settings import TextSettings
from charrnn.training.settings import CountingSettings, TrainingSettings
from charrnn.units import Score, bits, perplexity

_PNG_SCALE = 2.0
_MOST_NAMED = 3  # runs, in the title
_NOT_REPEATED = ("vocab_size",)


def write_report(path: Path, runs: Sequence[RunSummary]) -> int:
    """Writes the page; gives its size in bytes.

    Args:
        path: of the file; in an existing directory.
        runs: one or more.

    Raises:
        InputError: the history of one cannot be read.
        OutputError: it cannot be written, or what draws figures is not installed.
    """
    module = vega()
    names = labels(runs)
    histories = {name: history_of(run) for name, run in zip(names, runs, strict=True)}
    figures = [figure for figure in _figures(runs, histories) if figure.rows]
    has_symbols = all(row["symbols"] is not None for figure in figures for row in figure.rows)
    return write_page(
        path,
        "report",
        title=", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} runs",
        libraries=[module.javascript_bundle(vl_version=grammar(module))] if figures else [],
        data={
            "runs": names,
            "kinds": list(KINDS.items()),
            "symbolsPerStep": [histories[name].symbols_per_step for name in names],
            "figures": {
                figure.name: {
                    "rows": _compact(figure, names),
                    "specifications": {
                        f"{axis}-{scale}": specification(figure, names, axis=axis, is_logarithmic=scale == "log")
                        for axis in (("seconds", "symbols") if has_symbols else ("seconds",))
                        for scale in ("linear", "log")
                    },
                }
                for figure in figures
            },
        },
        names=names,
        colours=[f"var(--series-{1 + number % NUM_COLOURS})" for number in range(len(names))],
        figures=[(figure, summary_of(figure, names)) for figure in figures],
        has_symbols=has_symbols,
        lead=[_lead(run) for run in runs],
        facts=_facts(runs),
        notes=[*_missing(names, histories, runs), *score_notes(runs), *problem_notes(runs)],
        samples=_samples(histories),
        evaluations=histories,
        clock=clock,
        bits=bits,
        settings=_settings(runs),
        commands=[repeating(run) for run in runs],
    )


def write_figures(directory: Path, runs: Sequence[RunSummary]) -> list[Path]:
    """Writes each figure as SVG and as PNG; gives the files.

    Args:
        directory: made if missing.
        runs: one or more.

    Raises:
        InputError: the history of one cannot be read, or none has anything to draw.
        OutputError: they cannot be written, or what draws figures is not installed.
    """
    from charrnn.errors import InputError
    from charrnn.files import probe_writable, write_atomically

    module = vega()
    names = labels(runs)
    histories = {name: history_of(run) for name, run in zip(names, runs, strict=True)}
    figures = [figure for figure in _figures(runs, histories) if figure.rows]
    if not figures:
        raise InputError("there is nothing to draw: the history of no run says anything")
    probe_writable(directory)
    written = []
    for figure in figures:
        made = drawn(figure, names, axis="seconds")
        svg = module.vegalite_to_svg(made, vl_version=grammar(module))
        png = module.vegalite_to_png(made, vl_version=grammar(module), scale=_PNG_SCALE)
        for suffix, data in (("svg", svg.encode()), ("png", png)):
            written.append(directory / f"{figure.name}.{suffix}")
            write_atomically(written[-1], data)
    return written


def labels(runs: Sequence[RunSummary]) -> list[str]:
    """What each run is called: its name, or its directory where another run has the same."""
    names = [run.name for run in runs]
    return [
        run.name if names.count(run.name) == 1 else f"{run.directory} ({number})"
        for number, run in enumerate(runs, start=1)
    ]


def summary_of(figure: Figure, names: Sequence[str]) -> list[str]:
    """A figure in words, a sentence for each run."""
    said = []
    kind = figure.kinds[0]
    for run in names:
        rows = [row for row in figure.rows if row["run"] == run and row["kind"] == kind]
        if not rows:
            continue
        first, last = rows[0], rows[-1]
        least, most = min(rows, key=lambda row: row["y"]), max(rows, key=lambda row: row["y"])
        unit = f" {figure.unit}" if figure.unit else ""
        begin = f"{run}: " if len(names) > 1 else ""
        if figure.name == "loss":
            goes = (
                f"{begin}{'the' if begin else 'The'} held-out loss goes from {first['y']:.3f} to {last['y']:.3f}{unit}"
            )
            said.append(f"{goes} in {clock(last['seconds'])}; the least is {least['y']:.3f} at step {least['step']:,}.")
        else:
            said.append(
                f"{begin}{_short(first['y'])}{unit} at step {first['step']:,}, {_short(last['y'])} at step "
                f"{last['step']:,}; between {_short(least['y'])} and {_short(most['y'])}."
            )
    return said


def _short(value: float) -> str:
    """Three digits, or a whole number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def repeating(run: RunSummary) -> str:
    """The command that trains, or counts, the same again; "" where its text is not known.

    Texts have their names alone: a page may go where paths are nobody's business.
    """
    given = run.settings.get("texts")  # files and directories as they were named; a model of counts keeps names alone
    texts = given if isinstance(given, list) and given else run.texts
    if not texts:
        return ""
    is_counted = run.step is None
    groups = (TextSettings, CountingSettings) if is_counted else (TextSettings, TrainingSettings, ModelSettings)
    words = ["charrnn", "count" if is_counted else "train", *(Path(str(text)).name or str(text) for text in texts)]
    for group in groups:
        for name, setting in group.settings().items():
            words += _option(setting, run.settings.get(name)) if name not in _NOT_REPEATED else []
    return shlex.join(words)


def _option(setting: Setting, value: Any) -> list[str]:  # noqa: ANN401 - a stored value
    # Also where the value is the default: where nothing is given, the recipe may choose another.
    if setting.is_argument or setting.is_internal or value is None:
        return []
    if setting.kind is bool:
        if value == setting.default:
            return []
        return [setting.option if value else f"--no-{setting.option.removeprefix('--')}"]
    values = value if isinstance(value, list) else [value]
    return [word for each in values for word in (setting.option, str(each))]


def _figures(runs: Sequence[RunSummary], histories: dict[str, RunHistory]) -> list[Figure]:
    levels = {run.level for run in runs if run.level}
    clips = {}
    for name, run in zip(histories, runs, strict=True):
        clip = run.settings.get("grad_clip")
        if isinstance(clip, float | int) and 0 < clip < 1e9:
            clips[name] = float(clip)
    return figures_of(histories, level=levels.pop() if len(levels) == 1 else "symbol", clips=clips)


def _lead(run: RunSummary) -> str:
    """A run in a sentence."""
    parts = []
    if run.model is not None:
        parts.append(f"{run.model.title}, {run.model.num_parameters:,} weights")
    if run.texts:
        more = max(run.num_texts, len(run.texts)) - 1
        parts.append(f"learned from {run.texts[0]}{f' and {more:,} more' if more else ''}")
    if run.score is not None:
        nats = run.score.nats_per_symbol
        parts.append(f"held-out loss {nats:.4f} nats/{run.level or 'symbol'}")
    return "; ".join([*parts, run.state])


def _facts(runs: Sequence[RunSummary]) -> list[tuple[str, list[str]]]:
    """What is known of runs, and their scores in every unit, a row for each."""
    rows = {name: values for name, values in known_facts(runs).items() if name not in ("held-out bits", "age")}
    rows.pop("perplexity")
    scores: dict[str, list[str]] = {}
    for run in runs:
        for name, value in _scores(run.score, run).items():
            scores.setdefault(name, []).append(value)
    return [*rows.items(), *scores.items()]


def _scores(score: Score | None, run: RunSummary) -> dict[str, str]:
    level = run.level or "symbol"
    if score is None or not score.num_chars:
        return dict.fromkeys(("held-out loss", "per character", "per byte", "perplexity", "scored on"), "-")
    nats = score.nats_per_symbol
    error = score.standard_error_per_byte if run.level == "byte" else score.standard_error
    part = ""
    if run.level:
        part = held_out_part(num_scored(score), max(run.num_held_out, num_scored(score)), level=run.level)
    return {
        "held-out loss": f"{nats:.4f} ± {error:.4f} nats/{level}",
        "per character": f"{score.nats_per_char:.4f} nats, {score.bits_per_char:.4f} bits",
        "per byte": f"{score.nats_per_byte:.4f} nats, {score.bits_per_byte:.4f} bits",
        "perplexity": f"{perplexity(nats):.3f} per {level}",
        "scored on": part or f"{score.num_predictions:,} predictions",
    }


def _missing(names: Sequence[str], histories: dict[str, RunHistory], runs: Sequence[RunSummary]) -> Iterator[str]:
    """What the page cannot show, in words."""
    for name, run in zip(names, runs, strict=True):
        history = histories[name]
        if run.step is None:
            yield f"{name} has no curves: it was counted, or only its model is there"
        elif not history.evaluations and not history.updates:
            yield f"{name} has no curves: its history is missing or empty"
        elif not history.updates:
            yield (
                f"{name} has no gradient norms, no losses of single updates and no samples: its history was written "
                f"by an earlier version, which kept the evaluations alone"
            )


def _compact(figure: Figure, names: Sequence[str]) -> list[tuple[float, ...]]:
    """Run, kind, step, seconds and y of the rows: what a script cannot tell by itself."""
    kinds = list(KINDS)
    return [
        (names.index(row["run"]), kinds.index(row["kind"]), row["step"], row["seconds"], row["y"])
        for row in figure.rows
    ]


def _samples(histories: dict[str, RunHistory]) -> list[tuple[str, list[dict[str, Any]]]]:
    """For each run that has some: what it wrote, with the held-out loss of then."""
    found = []
    for name, history in histories.items():
        losses = {each.step: each.nats for each in history.evaluations}
        samples = [
            {"step": each.step, "time": clock(each.seconds), "nats": losses.get(each.step), "text": each.text}
            for each in history.samples
        ]
        if samples:
            found.append((name, samples))
    return found


def _settings(runs: Sequence[RunSummary]) -> list[tuple[str, list[str], bool]]:
    """Each setting with its values and whether these differ."""
    differing = comparison(runs)
    texts = [", ".join(run.texts) or "-" for run in runs]
    rows = [("texts", texts, len(set(texts)) > 1)]
    rows += [
        (name, [plain_value(run.settings.get(name)) for run in runs], name in differing) for name in setting_names(runs)
    ]
    return rows
