"""The page's figures are those of the reading, as far as a byte can hold them, and its chart says what it shows."""

import base64
import math
import re
import xml.etree.ElementTree as ET
import zlib
from html import unescape

import numpy as np
import pytest
from small_model import TEXT, make_model

from charrnn.explaining.explanation import Text, explain
from charrnn.explaining.settings import ExplainSettings
from charrnn.pages import explanation as page
from charrnn.pages.flow_chart import Line, flow_chart
from charrnn.storage.model_file import read_model


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """Two networks that read the same text; one of characters, one of bytes."""
    folder = tmp_path_factory.mktemp("models")
    models = {
        "one": read_model(make_model(folder / "one.safetensors")),
        "two": read_model(make_model(folder / "two.safetensors", level="byte", cell="rnn")),
    }
    settings = ExplainSettings(unit=("1.forget.2", "1.hidden.3"), reach=4)
    return explain(models, Text("text.txt", TEXT, False), settings)


def unpacked(letters):
    return zlib.decompress(base64.b64decode(letters))


def planes(chunks, count, num_chars):
    """The rows that all chunks hold together, (count, N)."""
    found, at = [], 0
    for chunk in chunks:
        length = min(page.CHUNK, num_chars - at)
        found.append(np.frombuffer(unpacked(chunk), np.uint8).reshape(count, length))
        at += length
    assert at == num_chars
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("chunk", [1000, 1 << 15])
def test_packed_figures_are_those_of_the_reading(explained, chunk, monkeypatch):
    monkeypatch.setattr(page, "CHUNK", chunk)
    data = page.page_data(explained)
    assert unpacked(data["text"]).decode() == TEXT
    assert data["chunk"] == chunk
    for given, model in zip(data["models"], explained.models, strict=True):
        reading = model.reading
        rows = planes(given["chunks"], 2 + 2 * given["numExpected"], len(TEXT))
        in_bits = np.minimum(reading.nats / math.log(2), 255 / page.STEPS_PER_BIT)
        np.testing.assert_allclose(rows[0] / page.STEPS_PER_BIT, in_bits, rtol=0, atol=0.5 / page.STEPS_PER_BIT)
        entropy = reading.entropy / math.log(2)
        np.testing.assert_allclose(rows[1] / page.STEPS_PER_BIT, entropy, rtol=0, atol=0.5 / page.STEPS_PER_BIT)
        shares = (rows[2:7] / 255.0) ** 2
        np.testing.assert_allclose(shares, reading.probabilities.T, rtol=0, atol=1 / 255)
        assert np.array_equal(rows[7:], reading.expected.T)
        assert len(given["symbols"]) == model.vocab.size


def test_packed_units_are_those_asked_for_in_their_reach(explained):
    for given, model in zip(page.page_data(explained)["models"], explained.models, strict=True):
        assert len(given["units"]) == len(model.reading.units) > 0
        for unit, values in zip(given["units"], model.reading.units.values(), strict=True):
            (row,) = planes(unit["chunks"], 1, len(TEXT))
            back = unit["low"] + row / page.UNIT_STEPS * (unit["high"] - unit["low"])
            inside = np.clip(values, unit["low"], unit["high"])
            half_step = (unit["high"] - unit["low"]) / page.UNIT_STEPS / 2
            np.testing.assert_allclose(back, inside, rtol=0, atol=half_step * 1.001)
    names = [unit["name"] for unit in page.page_data(explained)["models"][0]["units"]]
    assert {"forget gate 2 of layer 1", "hidden 3 of layer 1"} <= set(names)


def test_a_vocabulary_above_a_byte_takes_two_bytes_per_symbol(tmp_path):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 300))) * 2
    model = read_model(make_model(tmp_path / "wide.safetensors", text=text))
    found = explain({"wide": model}, Text("t", text, False), ExplainSettings(reach=0))
    (given,) = page.page_data(found)["models"]
    content = unpacked(given["chunks"][0])
    assert given["isWide"]
    ids = np.frombuffer(content[7 * len(text) :], "<u2").reshape(5, len(text))
    assert np.array_equal(ids, found.models[0].reading.expected.T)


def test_the_page_is_whole_and_holds_all_it_tells(explained, tmp_path):
    size = page.write_explanation_page(tmp_path / "page.html", explained)
    written = (tmp_path / "page.html").read_text()
    assert size == len(written.encode()) < 200_000
    assert "<h1>How one and two read text.txt</h1>" in written
    for model in explained.models:
        assert f"{model.reading.nats_per_char:.3f}" in written
        for unit in model.units:
            assert unit.feature in unescape(written)


def lines(*factors):
    shares = [[factor**k for k in range(11)] for factor in factors]
    return [
        Line(f"name <{n}>", f"label {n}", n, n == 1, (s, s, [min(2 * each, 1) for each in s]))
        for n, s in enumerate(shares)
    ]


def test_the_chart_falls_by_as_many_decades_as_the_gradient():
    svg = ET.fromstring(flow_chart(lines(0.1, 1.0)))
    paths = [each.get("points").split() for each in svg.iter("polyline")]
    heights = [[float(point.split(",")[1]) for point in path] for path in paths]
    assert np.ptp(heights[1]) == 0
    steps = np.diff(heights[0])
    assert (steps > 0).all()
    np.testing.assert_allclose(steps, steps[0], atol=0.2)  # written with one decimal
    assert heights[0][0] == heights[1][0]
    labels = [each.text for each in svg.iter("text")]
    assert {"label 0", "label 1", "steps back, k"} <= set(labels)


def test_no_label_of_the_chart_covers_another():
    svg = ET.fromstring(flow_chart(lines(0.5, 0.51, 0.52, 0.5, 0.9)))
    heights = sorted(float(each.get("y")) for each in svg.iter("text") if (each.text or "").startswith("label"))
    assert len(heights) == 5
    assert min(np.diff(heights)) >= 16


@pytest.mark.parametrize("factor", [0.0, 1e-30, 1e30])
def test_gradients_beyond_the_chart_stay_inside_it(factor):
    svg = ET.fromstring(flow_chart(lines(factor)))
    height = float(svg.get("viewBox").split()[3])
    for path in svg.iter("polyline"):
        assert all(0 <= float(point.split(",")[1]) <= height for point in path.get("points").split())
    assert not re.search("nan|inf", flow_chart(lines(factor)))
