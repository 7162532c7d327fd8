"""The course is true, and the same in both languages: its commands are run as they stand, and give what it shows."""

import contextlib
import io
import os
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from command import ENVIRONMENT, invoke

import charrnn

DOCS = Path(__file__).parents[1] / "docs"
COURSE, CURSO = ((DOCS / name).read_text() for name in ("course.md", "curso.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LESSON = re.compile(r"^## (\d+)\. (.+)$", re.MULTILINE)


def blocks(page):
    return BLOCK.findall(page)


def lessons(page):
    """Each lesson's text by its number."""
    starts = list(LESSON.finditer(page))
    ends = [*(each.start() for each in starts[1:]), page.rindex("\n## ")]
    return {int(each[1]): page[each.end() : end] for each, end in zip(starts, ends, strict=True)}


def tables(page):
    """Rows of cells that hold a number, numbers as floats."""
    for line in BLOCK.sub("", page).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        numbers = [re.fullmatch(r"([\d.,]+)( bits)?", cell) for cell in cells]
        if any(numbers):
            yield [
                float(each[1].replace(",", ".")) if each else cell for each, cell in zip(numbers, cells, strict=True)
            ]


def numbers_in(text, *, decimal):
    """All numbers in prose and tables, with a point for the decimals."""
    found = re.findall(r"\d+(?:[.,]\d+)*", BLOCK.sub("", text))
    if decimal == ",":
        return {each.replace(",", ".") for each in found}
    return {each.replace(",", "") for each in found}


def test_both_languages_have_the_same_commands_programs_and_outputs():
    assert blocks(COURSE) == blocks(CURSO)
    assert len(blocks(COURSE)) > 30


def test_both_languages_have_the_same_lessons_questions_and_exercises():
    english, spanish = lessons(COURSE), lessons(CURSO)
    assert list(english) == list(spanish) == list(range(1, 12))
    for number, lesson in english.items():
        other = spanish[number]
        marks = [lesson.count(mark) for mark in ("**Question.**", "**Exercise.**", "<summary>Answer</summary>")]
        assert marks == [1, 1, 2]
        assert [other.count(m) for m in ("**Pregunta.**", "**Ejercicio.**", "<summary>Respuesta</summary>")] == marks
        assert lesson.count("</details>") == other.count("</details>") == 2
        assert "```" in lesson


def test_both_languages_have_the_same_tables():
    english, spanish = list(tables(COURSE)), list(tables(CURSO))
    numbers = [[cell for cell in row if isinstance(cell, float)] for row in english]
    assert numbers == [[cell for cell in row if isinstance(cell, float)] for row in spanish]
    assert len(numbers) > 20


def test_both_languages_have_the_same_numbers_in_each_lesson():
    spanish = lessons(CURSO)
    for number, lesson in lessons(COURSE).items():
        found = numbers_in(lesson, decimal=".")
        assert found == numbers_in(spanish[number], decimal=","), number


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A directory in which somebody has typed all commands; and what each command and program printed."""
    here = tmp_path_factory.mktemp("student")
    printed = []
    for language, text in blocks(COURSE):
        if language == "python":
            printed.append(run_program(text, here))
        elif language == "sh":
            printed.append("".join(run_line(line, here) for line in text.replace("\\\n", "").splitlines()))
        else:
            printed.append(text)
    return here, printed


def run_program(text, here):
    with contextlib.chdir(here), contextlib.redirect_stdout(io.StringIO()) as out:
        exec(text, {})
    return out.getvalue()


def run_line(line, here):
    before, _, last = line.rpartition("|")
    if shlex.split(last)[0] != "charrnn":
        done = subprocess.run(["/bin/sh", "-ec", line], cwd=here, capture_output=True, check=True, env=dict(os.environ))
        return done.stdout.decode()
    given = subprocess.run(["/bin/sh", "-ec", before or ":"], cwd=here, capture_output=True, check=True).stdout
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        ended = invoke(*shlex.split(last)[1:], stdin=given, cwd=here)
    assert ended.code == 0, (line, ended.err)
    return ended.out + ended.err


@pytest.mark.long
def test_what_the_course_shows_is_what_its_commands_print(student):
    _, printed = student
    pairs = pairwise(zip(blocks(COURSE), printed, strict=True))
    shown = [(out, text) for ((kind, _), out), ((other, text), _) in pairs if (kind != "text") and other == "text"]
    assert len(shown) >= 8
    for out, text in shown:
        if "y_t = W_hy" not in text and not text.startswith(("z, r", "i, f")):
            assert all(line in out.splitlines() for line in text.splitlines()), text


@pytest.mark.long
def test_the_runs_of_the_course_score_what_its_tables_say(student):
    here, _ = student
    scores = {run.name: run.score.bits_per_char for run in charrnn.runs(here / "checkpoints")}
    rows = {row[0]: row[-1] for row in tables(COURSE) if row[0] in scores}
    assert set(rows) == {"forgets", "remembers", "remembers-too", "short"}
    for name, bits in rows.items():
        assert scores[name] == pytest.approx(bits, abs=0.03), name  # rounding differs between kinds of processors
    assert scores["larger"] > 0.2  # it forgets too
    compared = {row[0]: row[1:] for row in tables(COURSE) if row[0] in ("counts", "LSTM")}
    assert scores["recall-counts"] == pytest.approx(0.131, abs=0.001)
    assert scores["vary-counts"] == pytest.approx(0.469, abs=0.001)
    assert scores["vary"] == pytest.approx(0.448, abs=0.01)
    assert compared["LSTM"] == [0.133, 0.448]
    assert scores["sentences-counts"] == pytest.approx(0.288, abs=0.001)
    assert scores["sentences"] == pytest.approx(0.288, abs=0.005)
    assert scores["hello"] < 0.33  # less than a model of one letter can have


@pytest.mark.long
@pytest.mark.parametrize("lesson", [8, 9, 10, 11])
def test_the_numbers_of_a_lessons_table_are_printed_by_its_commands(lesson, student):
    _, printed = student
    begin = lessons(COURSE)[lesson]
    own = "".join(out for (_, text), out in zip(blocks(COURSE), printed, strict=True) if text in begin)
    found = [float(each) for each in re.findall(r"\d+\.\d+", own)]
    rows = [row for row in tables(begin) if row[0] not in ("the best possible", "uniform")]
    assert rows
    for row in rows:
        cells = [cell for cell in row[1:] if isinstance(cell, float)]
        for cell in cells[:1] if lesson == 8 else cells:  # what stands beside it there is the same in another unit
            # Networks differ with the processor, most where they learn by heart.
            assert any(each == pytest.approx(cell, rel=0.1, abs=0.012) for each in found), (row, cell)


@pytest.mark.long
def test_the_error_reaches_as_far_back_as_the_course_says(student):
    _, printed = student
    (shown,) = [out for out in printed if "How far gradients reach" in out]
    shares = [float(each) for each in re.findall(r"^20 +([\d.e+-]+)", shown, re.MULTILINE)]
    said = [row[-1] for row in tables(lessons(COURSE)[6]) if str(row[0]).endswith(("hidden", "cell"))]
    assert len(shares) == len(said) == 3
    for share, number in zip(shares, said, strict=True):
        assert number / 10 < share < number * 10  # of a few hundred steps: another processor gives other medians
    assert shares[0] < shares[1] < shares[2]
