"""The page of a run, and of several: what it says and draws, and that it works in a browser."""

import json
import re
import shlex
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from browser import Visit, browser
from command import invoke
from typer.main import get_command

from charrnn.cli.app import app
from charrnn.pages.figures import KINDS, Figure, drawn, figures_of, specification
from charrnn.pages.report import labels, repeating, summary_of, write_figures, write_report
from charrnn.storage.metrics import read_metrics
from charrnn.storage.run_history import Evaluated, RunHistory, Updated, history_of
from charrnn.storage.run_summary import RunSummary, summarized

TEXT = "to be or not to be, that is the question\n" * 40
TINY = ["--batch-size", "2", "--bptt", "5", "--threads", "1", "--hidden-size", "4", "--quiet"]
NOISE = ["--dropout", "0", "--weight-dropout", "0", "--learning-rate", "0.01"]  # what else would follow the cell
MEGABYTE = 1_000_000
pytest.importorskip("vl_convert", reason="vl-convert-python, which draws figures, is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs of one text, of another cell and seed each, and one that an earlier version might have left."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "text.txt").write_text(TEXT)
    for name, cell in (("one", "lstm"), ("two", "gru"), ("older", "rnn")):
        steps = ["--steps", "300", "--eval-every", "50", "--seed", str(len(name))]
        ended = invoke("train", "text.txt", "--name", name, "--cell", cell, *steps, *TINY, *NOISE, cwd=folder)
        assert ended.code == 0, ended.err
    history = folder / "checkpoints" / "older" / "metrics.jsonl"
    lines = [line for line in read_metrics(history) if line["event"] == "evaluated"]
    for line in lines:
        del line["nats_per_symbol"]
    history.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    return {name: summarized(folder / "checkpoints" / name) for name in ("one", "two", "older")}


@pytest.fixture(scope="module")
def page(folder, runs):
    """The page of all three."""
    write_report(folder / "three.html", list(runs.values()))
    return folder / "three.html"


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


def shown(opened, path, **how):
    """The page, once its figures are drawn."""
    visit = Visit(opened, path, **how)
    visit.page.wait_for_selector("body[data-drawn]")
    return visit


def redrawn(visit, selector, drawn_as):
    """Clicks on a control and waits for what it draws."""
    visit.page.evaluate("delete document.body.dataset.drawn")
    visit.page.locator(selector).click()
    visit.page.wait_for_selector(f"body[data-drawn='{drawn_as}']")


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_the_figures_hold_what_the_history_says(runs):
    history = history_of(runs["one"])
    loss, gradient, rate, speed = figures_of({"one": history}, level="char", clips={"one": 0.25})
    held_out = [(row["step"], row["y"]) for row in loss.rows if row["kind"] == "held-out"]
    assert held_out == [(each.step, pytest.approx(each.nats, rel=1e-5)) for each in history.evaluations]
    assert [row["y"] for row in gradient.rows] == [each.gradient_norm for each in history.updates]
    assert [row["y"] for row in rate.rows] == [each.learning_rate for each in history.updates]
    assert {row["symbols"] / row["step"] for row in (*loss.rows, *speed.rows)} == {10}
    assert all(row["y"] > 0 for row in speed.rows)


def test_a_speed_is_that_of_the_clock():
    points = tuple(
        Updated(step=n, seconds=n / 2, nats=1.0, gradient_norm=None, learning_rate=None) for n in range(1, 400)
    )
    history = RunHistory(updates=points, symbols_per_step=30)
    *_, speed = figures_of({"run": history}, level="char", clips={})
    assert {row["y"] for row in speed.rows} == {60.0}
    assert 50 < len(speed.rows) <= 100
    *_, none = figures_of({"run": replace(history, symbols_per_step=None)}, level="char", clips={})
    assert none.rows == ()


def test_a_long_history_is_thinned_and_keeps_its_end():
    evaluations = tuple(
        Evaluated(step=n, seconds=float(n), nats=1.0, train_nats=None, learning_rate=None) for n in range(1, 9001)
    )
    loss, *_ = figures_of({"run": RunHistory(evaluations=evaluations)}, level="char", clips={})
    assert len(loss.rows) == 1500
    assert loss.rows[-1]["step"] == 9000
    many = {f"run {number}": RunHistory(evaluations=evaluations) for number in range(20)}
    loss, *_ = figures_of(many, level="char", clips={})
    assert len(loss.rows) <= 6000


def test_a_page_of_many_long_runs_is_below_two_megabytes(tmp_path, runs):
    lines = [
        {"event": "updated", "step": n, "seconds": n / 7, "nats": 1 / n, "gradient_norm": 1 / n, "learning_rate": 1 / n}
        for n in range(1, 2500)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    many = [replace(runs["one"], name=f"run-{number}", directory=tmp_path) for number in range(20)]
    assert MEGABYTE < write_report(tmp_path / "page.html", many) < 2 * MEGABYTE


@pytest.mark.parametrize(
    ("end", "step"), [(8, 1), (47, 10), (300, 60), (5400, 600), (80_000, 5 * 3600), (1e6, 172_800)]
)
def test_times_on_the_axis_are_round(end, step):
    row = {"run": "run", "kind": "update", "seconds": float(end), "symbols": None, "y": 1.0}
    figure = Figure(name="speed", title="Speed", unit="", rows=(row,))
    [layer, *_] = specification(figure, ["run"], axis="seconds")["layer"]
    times = layer["encoding"]["x"]["axis"]["values"]
    assert times == [float(number * step) for number in range(int(end / step) + 1)]
    assert 2 < len(times) <= 10


def test_a_figure_in_words_says_where_the_loss_ended_and_was_least(runs):
    history = history_of(runs["one"])
    loss, *_ = figures_of({"one": history}, level="char", clips={})
    [said] = summary_of(loss, ["one"])
    least = min(history.evaluations, key=lambda each: each.nats)
    assert f"to {history.evaluations[-1].nats:.3f} nats/char" in said
    assert f"least is {least.nats:.3f} at step {least.step:,}." in said


def test_runs_are_told_apart_by_colour_and_one_by_kinds_of_curve(runs):
    loss, *_ = figures_of({"one": history_of(runs["one"])}, level="char", clips={})
    colours = {}
    for names in (["one"], ["one", "two"]):
        made = specification(loss, names, axis="seconds")
        colours[len(names)] = made["layer"][0]["encoding"]["color"]["scale"]
    assert len(set(colours[1]["range"])) == len(KINDS)
    assert colours[2] == {"domain": ["one", "two"], "range": ["var(--series-1)", "var(--series-2)"]}


def test_a_picture_needs_no_page(runs):
    loss, *_ = figures_of({"one": history_of(runs["one"])}, level="char", clips={})
    made = json.dumps(drawn(loss, ["one"], axis="seconds"))
    assert "var(" not in made
    assert "tooltip" not in made


# --- the page ---------------------------------------------------------------------------------------------------------


def test_a_page_is_small_and_tells_scores_samples_settings_and_what_is_missing(page, runs):
    text = page.read_text()
    assert len(text) < 2 * MEGABYTE
    for name, run in runs.items():
        assert f"{run.score.nats_per_symbol:.4f} ± " in text
        assert f"--seed {len(name)}" in text
    assert text.count('<figure class="sample">') == 2 * 4  # at steps 50, 100, 200 and 300
    differing = re.findall(r'<tr class="differs"><th scope="row">(\w+)', text)
    assert differing == ["cell", "seed"]
    assert "older has no gradient norms, no losses of single updates and no samples" in text


def test_the_command_repeats_the_run(folder, runs, monkeypatch):
    program, name, *arguments = shlex.split(repeating(runs["two"]))
    assert (program, name, arguments[0]) == ("charrnn", "train", "text.txt")
    ended = invoke(name, *arguments, "--name", "again", "--threads", "1", "--quiet", cwd=folder)
    assert ended.code == 0, ended.err
    again, before = (folder / "checkpoints" / each / "model.safetensors" for each in ("again", "two"))
    assert again.read_bytes() == before.read_bytes()


def test_a_run_that_counted_has_a_page_without_curves(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    assert invoke("count", "text.txt", "--quiet", cwd=tmp_path).code == 0
    run = summarized(tmp_path / "checkpoints" / "text-counts")
    assert write_report(tmp_path / "page.html", [run]) < MEGABYTE / 10  # it draws nothing, and holds nothing that draws
    text = (tmp_path / "page.html").read_text()
    assert "has no curves: it was counted" in text
    assert repeating(run).startswith("charrnn count text.txt")
    get_command(app).commands["count"].make_context("count", shlex.split(repeating(run))[2:])


def test_what_a_history_claims_stays_text(tmp_path, runs):
    hostile = "<img src=x onerror=alert(1)>\x1b]0;"
    line = {"event": "sampled", "step": 1, "seconds": 1.0, "text": hostile}
    (tmp_path / "metrics.jsonl").write_text(f"{json.dumps(line)}\n")
    run = RunSummary(name=hostile, directory=tmp_path, state="stopped", step=1, settings={hostile: hostile})
    write_report(tmp_path / "page.html", [run])
    text = (tmp_path / "page.html").read_text()
    assert "<img" not in text
    assert "\x1b" not in text
    assert text.count("&lt;img src=x") >= 5


def test_runs_of_one_name_are_called_by_their_places(runs, tmp_path):
    other = replace(runs["one"], directory=tmp_path)
    assert labels([runs["one"], runs["two"]]) == ["one", "two"]
    first, second = labels([runs["one"], other])
    assert first != second
    assert str(tmp_path) in second


def test_figures_are_written_as_svg_and_png(runs, tmp_path):
    written = write_figures(tmp_path / "new", [runs["one"], runs["two"]])
    assert {path.name for path in written} == {
        f"{name}.{suffix}" for name in ("loss", "gradient", "learning-rate", "speed") for suffix in ("svg", "png")
    }
    for path in written:
        if path.suffix == ".svg":
            ET.parse(path)
            assert "one" in path.read_text()  # the legend
        else:
            assert path.read_bytes().startswith(b"\x89PNG")


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_page_and_figures_where_told(folder):
    ended = invoke("report", "one", "two", "-o", "page.html", "--figures", "figures", cwd=folder)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[0] == "page.html"
    assert all((folder / line).is_file() for line in ended.out.splitlines())
    assert "MB; open it in a browser" in ended.err


def test_without_what_draws_the_command_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    code, out, err = invoke("report", "one", "-o", "no.html", cwd=folder)
    assert (code, out) == (4, "")
    assert "pip install 'charrnn[report]'" in err
    assert not (folder / "no.html").exists()
    assert invoke("report", "one", cwd=folder).code == 0  # a chart of characters needs nothing


def test_the_command_draws_a_chart_where_no_file_is_named(folder):
    ended = invoke("report", "one", cwd=folder)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("nats/char\n")
    assert "┤" in ended.out
    assert "o  held-out loss" in ended.out
    assert "perplexity" in ended.out
    two = invoke("report", "one", "two", cwd=folder).out
    assert "o  one, held-out loss" in two
    assert "x  two, held-out loss" in two
    assert re.search(r"^cell +lstm +gru$", two, re.MULTILINE)


def test_the_command_names_the_runs_that_there_are(folder):
    code, _, err = invoke("report", cwd=folder)
    assert code == 2
    assert "one" in err
    assert invoke("report", "text.txt", cwd=folder).code == 3


# --- in a browser -----------------------------------------------------------------------------------------------------


def test_the_page_draws_all_figures_and_asks_for_nothing(chromium, page):
    visit = shown(chromium, page)
    assert visit.page.locator(".plot svg").count() == 4
    assert visit.page.locator(".plot svg path").count() > 20
    assert (visit.said, visit.asked) == ([], [])


def test_every_control_of_the_page_does_its_work(chromium, page):
    visit = shown(chromium, page)
    axis = visit.page.locator("#loss .plot svg text", has_text="symbols read")
    assert axis.count() == 0
    redrawn(visit, "input[value=symbols]", "symbols-linear")
    assert axis.count() == 1
    redrawn(visit, "input[value=log]", "symbols-log")
    lines = visit.page.locator("#loss .plot svg .mark-line path")
    assert lines.count() == 6  # the mean and the held-out loss of three runs
    redrawn(visit, "input[value=update]", "symbols-log")
    assert lines.count() == 8  # an older one has no single updates
    redrawn(visit, "input[value=training]", "symbols-log")
    redrawn(visit, "input[value=two]", "symbols-log")
    assert lines.count() == 3
    for value in ("one", "older"):
        redrawn(visit, f"input[value={value}]", "symbols-log")
    assert visit.page.locator("#loss .plot").inner_text() == "nothing chosen"
    same = visit.page.locator("#settings-table tr", has_text="batch_size")
    assert same.is_visible()
    visit.page.locator("#differing").check()
    assert not same.is_visible()
    assert visit.page.locator("#settings-table tr.differs").first.is_visible()
    visit.page.locator("summary").click()
    assert visit.page.locator("details td").first.is_visible()
    assert (visit.said, visit.asked) == ([], [])


def test_the_controls_can_be_reached_and_used_by_keyboard(chromium, page):
    visit = shown(chromium, page)
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.value") == "seconds"
    width = visit.page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
    assert width >= 2  # where one is stays plain to see
    visit.page.evaluate("delete document.body.dataset.drawn")
    visit.page.keyboard.press("ArrowRight")
    visit.page.wait_for_selector("body[data-drawn='symbols-linear']")
    for _ in range(2):
        visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.value") == "held-out"
    visit.page.keyboard.press("Space")
    assert not visit.page.locator("input[value=held-out]").is_checked()
    assert visit.said == []


def test_pointing_at_a_curve_tells_its_numbers(chromium, page):
    visit = shown(chromium, page)
    point = visit.page.locator("#loss .plot svg .mark-symbol path").last
    point.scroll_into_view_if_needed()
    point.hover()
    tooltip = visit.page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    said = tooltip.inner_text()
    assert re.search(r"run\s+(one|two|older)", said)
    assert re.search(r"bits/char\s+\d\.\d{4}", said)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_legible_in_light_and_dark(chromium, page, scheme):
    visit = shown(chromium, page, color_scheme=scheme)
    ground = sum(visit.colour("body", "backgroundColor"))
    text, axis = sum(visit.colour("body")), sum(visit.colour("#loss .plot svg text", "fill"))
    assert abs(text - ground) > 500
    assert abs(axis - ground) > 250
    assert (ground > 600) == (scheme == "light")


@pytest.mark.parametrize("width", [320, 390, 800, 1600])
def test_the_page_fits_every_screen(chromium, page, width):
    visit = shown(chromium, page, viewport={"width": width, "height": 700})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    box = visit.page.locator("#loss .plot svg").bounding_box()
    assert 0.7 * width - 40 < box["width"] <= width
    assert visit.said == []


def test_paper_shows_dark_on_white_without_controls(chromium, page):
    visit = shown(chromium, page, color_scheme="dark")
    visit.page.emulate_media(media="print", color_scheme="dark")
    assert sum(visit.colour("body", "backgroundColor")) == 3 * 255
    assert sum(visit.colour("body")) == 0
    assert not visit.page.locator("#controls").is_visible()
    assert visit.page.locator("#loss .plot svg").is_visible()
