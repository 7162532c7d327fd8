"""Features of a text, each against what a person would mark."""

import pytest

from charrnn.explaining.feature import features_of, varies


def feature(text, name):
    return next(each for each in features_of(text) if each.name == name)


def marked(text, name):
    """A mark under each character of which the feature is true."""
    return "".join("x" if value else "." for value in feature(text, name).values)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("inside quotes", 'a "bc" d', "..xxx..."),
        ("inside quotes", "a “bc” d", "..xxx..."),
        ("inside quotes", r'a "b\"c" d', "..xxxxx..."),
        ("inside quotes", "x = '\"'; y", "." * 10),
        ("inside quotes", 'a "b\n\nc', "..xx..."),
        ("inside quotes", 'puts("a);\nb', ".....xxxx.."),
        ("inside round brackets", "f(a(b)c)d", ".xxxxxx.."),
        ("inside round brackets", ")(a", ".xx"),
        ("inside square brackets", "a[i]", ".xx."),
        ("inside curly brackets", "{a}b", "xx.."),
        ("inside a comment", "a /* b */ c", "...xxxxx..."),
        ("inside a comment", "/*/ b */", ".xxxxxx."),
        ("inside a comment", "a // b\nc", "...xxx.."),
        ("inside a comment", "http://a b", "." * 10),
        ("in the indentation", "a\n  b c", "..xx..."),
        ("inside a word", "it's a_b.", "xxxx.xxx."),
        ("inside a word of capitals", "KING A: MAX_N a", ".xxx.....xxxx.."),
        ("inside a number", "a 12.5", "..xx.x"),
        ("a sentence begins", "Go. Now it. e", "...x.......x."),
        ("a sentence begins", 'Go! "Now', "...xx..."),
        ("after a line's end", "a\nb", ".x."),
    ],
)
def test_a_feature_is_true_where_a_person_marks_it(name, text, expected):
    assert marked(text, name) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("position in the line", "ab\nc\n\n", [1, 2, 0, 1, 0, 0]),
        ("position in the paragraph", "a\nb\n\nc", [1, 2, 3, 4, 0, 1]),
        ("position in the word", "ab c", [1, 2, 0, 1]),
        ("depth of indentation", "  a b\n\tc", [1, 2, 2, 2, 2, 0, 8, 8]),
        ("depth of brackets", "({[a]})", [1, 2, 3, 3, 2, 1, 0]),
    ],
)
def test_a_feature_counts_what_a_person_counts(name, text, expected):
    assert feature(text, name).values.tolist() == expected


def test_every_feature_has_a_value_for_each_character():
    text = 'ab (c) "d". E\n'
    assert {len(each.values) for each in features_of(text)} == {len(text)}


def test_what_hardly_ever_changes_is_left_out():
    text = "abcd(e)" + "f" * 100
    assert not varies(feature(text, "inside round brackets"), slice(0, None))
    text = "abcd(efghijklmnopqrstuvwxyz)" * 5
    assert varies(feature(text, "inside round brackets"), slice(0, None))
    assert not varies(feature(text, "inside round brackets"), slice(0, 4))
    assert not varies(feature(text, "position in the line"), slice(0, 0))
