"""Draws the pictures of charrnn explain: a page as a browser shows it.

    python tests/benchmarks/explain_picture.py corpora/shakespeare.txt build/runs docs/pictures/explain.png
    python tests/benchmarks/explain_picture.py corpora/shakespeare.txt build/runs --unit docs/pictures/explain-unit.png

The directory of runs keeps what was trained: an LSTM of 256 units, five minutes on one thread, and counts.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))
from page_visit import opened

_HELD_OUT = 0.1
_CHARS = 60_000
_SIZE = {"width": 1080, "height": 640}
_CHOSEN = 300  # the character whose expectations are shown


def charrnn(*arguments):
    """Runs the command."""
    subprocess.run([sys.executable, "-m", "charrnn", *map(str, arguments)], check=True)


def run_of(runs, name, *command):
    """The directory of a run, which is made where it is missing."""
    if not (runs / name / "model.safetensors").exists():
        charrnn(*command, "--out", runs, "--name", name)
    return runs / name


def draw(text, runs, out, *, with_unit):
    """Writes the picture of a page: two models beside each other, or a unit painted over the text."""
    network = ("train", text, "--cell", "lstm", "--hidden-size", 256, "--minutes", 5, "--threads", 1)
    lstm = run_of(runs, "lstm", *network)
    counts = run_of(runs, "counts", "count", text)
    content = text.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        held_out, page_file = Path(folder) / "held-out.txt", Path(folder) / "page.html"
        held_out.write_text(content[int(len(content) * (1 - _HELD_OUT)) :], encoding="utf-8")
        beside = () if with_unit else ("--with", counts)
        charrnn("explain", lstm, held_out, *beside, "--length", _CHARS, "-o", page_file, "--quiet")
        with opened(page_file, viewport=_SIZE) as page:
            page.wait_for_selector("body[data-ready]")
            if with_unit:
                values = page.locator("#colour option").evaluate_all(
                    "all => all.filter((each) => each.text.includes('position in the line')).map((each) => each.value)"
                )
                page.select_option("#colour", values[0])
            page.evaluate(f"choose({_CHOSEN}, {{ scrolls: true }})")
            page.wait_for_timeout(500)
            page.evaluate("document.getElementById('text-title').scrollIntoView()")
            page.screenshot(path=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("runs", type=Path, help="directory of the runs that are shown")
    parser.add_argument("out", type=Path, help="the PNG")
    parser.add_argument("--unit", action="store_true", help="paint the unit that follows the position in the line")
    given = parser.parse_args()
    draw(given.text, given.runs, given.out, with_unit=given.unit)


if __name__ == "__main__":
    main()
