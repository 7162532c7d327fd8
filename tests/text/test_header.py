"""Headers of C and C++ made fit to learn from."""

import pytest

from charrnn.text.header import clean_headers

LICENCE = "/*\n * Copyright (c) 2020 Someone\n * All rights reserved.\n */\n"
FUNCTION = "int add(int a, int b) {\n  return a + b;\n}\n"


def cleaned(*texts):
    return list(clean_headers(texts))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("int   a;      // the   first\n", "int a; // the first\n"),
        ("#define F(x)           \\\n  g(x);    \\\n  h(x)\n", "#define F(x) \\\n  g(x); \\\n  h(x)\n"),
        (" " * 40 + "deep;\n" + " " * 16 + "less;\n", " " * 16 + "deep;\n" + " " * 16 + "less;\n"),
        ("\tint a;\n\t\t\tint b;\n", " " * 8 + "int a;\n" + " " * 16 + "int b;\n"),
        ("// " + "=" * 77 + "\n", "// " + "=" * 16 + "\n"),
        ("a;   \n\n\n\n   \nb;\n\n\n", "a;\n\nb;\n"),
        ("a;", "a;\n"),
    ],
)
def test_what_aligns_or_adorns_is_cut(text, left):
    assert cleaned(text) == [left + "\n"]


def test_inside_a_line_no_run_is_longer_than_sixteen_signs():
    text = "".join(sign * count for sign in " =*/-x" for count in (17, 40)) + "\n"
    (left,) = cleaned("x" + text + text[::-1])
    assert all(sign * 16 in left and sign * 17 not in left for sign in "=*/-x")
    assert " " * 2 not in left


@pytest.mark.parametrize("comment", [LICENCE, "// Copyright 2020 Someone\n// See LICENSE.\n"])
def test_a_licence_goes_even_the_first_time(comment):
    assert cleaned(comment + FUNCTION, FUNCTION.replace("add", "sum")) == [
        FUNCTION + "\n",
        FUNCTION.replace("add", "sum") + "\n",
    ]


def test_a_comment_that_came_before_goes_and_the_code_below_stays():
    first, second = cleaned("// Adds.\nint a;\n", "// Adds.\nint b;\n\n/* Of its own. */\nint c;\n")
    assert first == "// Adds.\nint a;\n\n"
    assert second == "int b;\n\n/* Of its own. */\nint c;\n\n"


def test_a_block_that_came_before_goes_where_it_closes_what_it_opens():
    unpaired = "struct s {\n  int a;\n"
    condition = "#ifdef X\nint x;\n"
    first = f"{FUNCTION}\n{unpaired}\n{condition}\n}}\n"
    _, second = cleaned(first, f"int new;\n\n{first}")
    assert second == f"int new;\n\n{unpaired}\n{condition}\n}}\n\n"


def test_single_lines_stay_however_often_they_came():
    lines = "class a {\n\n private:\n\n  int b;\n};\n"
    assert cleaned(lines, lines.replace("b", "c"))[1] == lines.replace("b", "c") + "\n"


def test_a_guard_around_a_whole_header_goes_and_one_inside_stays():
    guarded = f'#if !defined(A)\n#pragma once\n\n{FUNCTION}\n#else\n#error "not here"\n#endif  // A\n'
    inside = "int a;\n\n#if defined(B)\nint b;\n#else\nint c;\n#endif\n"
    assert cleaned(guarded, inside) == [FUNCTION + "\n", inside + "\n"]


def test_of_a_header_that_repeats_another_nothing_is_left():
    assert cleaned(LICENCE + FUNCTION, LICENCE + FUNCTION) == [FUNCTION + "\n", ""]


def test_what_is_clean_stays_as_it_is():
    text = '#include <vector>\n\nnamespace a {\nint b = 1; // one\n\n#define X "y" \\\n  z\n} // namespace a\n'
    assert cleaned(text) == [text + "\n"]
