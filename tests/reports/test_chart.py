"""A chart of characters: its axes are round and true, and it keeps to its size."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.reports.chart import LEAST_HEIGHT, LEAST_WIDTH, Curve, chart

NUMBERS = st.floats(0, 1e6, allow_nan=False)


def plain(curves, **how):
    return [line.plain for line in chart(curves, **{"width": 40, "height": 9, "y_word": "nats", **how})]


def test_marks_stand_where_their_numbers_are():
    first, *rows, axis, words = plain([Curve("loss", [(0, 4.0), (5, 2.0), (10, 1.0)], mark="*")])
    assert first == "nats"
    ticks = {float(row.split("┤")[0]): number for number, row in enumerate(rows) if "┤" in row}
    high, low = max(ticks), min(ticks)
    assert (ticks[high], ticks[low]) == (0, len(rows) - 1)
    columns = len(axis) - axis.index("└") - 1
    for x, y in ((0, 4.0), (5, 2.0), (10, 1.0)):
        row = rows[round((high - y) / (high - low) * (len(rows) - 1))]
        assert row[axis.index("└") + 1 + round(x / 10 * (columns - 1))] == "*"
    assert words.split() == ["0", "5", "10"]


def test_a_line_of_dots_joins_its_points():
    rows = plain([Curve("line", [(0, 0.0), (10, 1.0)])])[1:-2]
    columns = {column for row in rows for column, char in enumerate(row) if 0x2800 < ord(char) <= 0x28FF}
    assert columns == set(range(min(columns), min(columns) + len(columns)))
    assert len(columns) > 30


def test_a_high_beginning_of_many_points_does_not_flatten_the_rest():
    points = [(0.0, 100.0)] + [(float(x), 1 + 1 / x) for x in range(1, 100)]
    highest = float(plain([Curve("loss", points)])[1].split("┤")[0])
    assert 1 < highest <= 2
    few = float(plain([Curve("loss", points[:5], mark="*")])[1].split("┤")[0])
    assert few >= 100


def test_a_later_curve_lies_above():
    lines = plain([Curve("dots", [(0, 1.0), (10, 1.0)]), Curve("mark", [(10, 1.0)], mark="o")])
    assert any(re.search("[\u2801-\u28ff]o$", line) for line in lines)


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30).map(sorted),
    st.integers(LEAST_WIDTH, 130),
    st.integers(LEAST_HEIGHT, 40),
    st.sampled_from(["", "*"]),
)
def test_a_chart_keeps_to_its_size_whatever_it_shows(points, width, height, mark):
    lines = plain([Curve("any", points, mark=mark)], width=width, height=height)
    assert len(lines) == height + 2
    assert max(map(len, lines)) <= max(width, 30)  # numbers of a million need room for themselves
    assert "┬" in lines[-2]


@pytest.mark.parametrize("points", [[(0.0, 1.5)], [(0.0, 0.0)], [(3.0, -2.0), (4.0, -2.0)]])
def test_one_value_has_an_axis_too(points):
    ticks = [float(row.split("┤")[0]) for row in plain([Curve("flat", points, mark="x")]) if "┤" in row]
    assert len(ticks) >= 2
    assert min(ticks) < points[0][1] < max(ticks)
