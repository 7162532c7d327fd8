"""The picture of a report in the guide: the beginning of a page of three runs, one for each cell, in a browser.

    python tests/benchmarks/report_picture.py corpora/shakespeare.txt 1 docs/pictures/report.png

It trains small runs of so many minutes each, writes their page, and takes a picture of what a screen shows of it. It
needs Chromium; the figures depend on the machine and on what else runs there.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

CELLS = ("rnn", "gru", "lstm")
SIZES = ("--hidden-size", "128", "--threads", "1", "--quiet")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREEN = {"width": 1000, "height": 800}


def main() -> None:
    """Trains, writes the page and takes the picture."""
    text, minutes, target = Path(sys.argv[1]).resolve(), sys.argv[2], Path(sys.argv[3]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        for cell in CELLS:
            charrnn(folder, "train", str(text), "--cell", cell, "--name", cell, "--minutes", minutes, *SIZES)
        charrnn(folder, "report", *CELLS, "--out", "report.html")
        take(Path(folder) / "report.html", target)


def charrnn(folder: str, *arguments: str) -> None:
    """Runs the command there."""
    subprocess.run([sys.executable, "-m", "charrnn", *arguments], cwd=folder, check=True)


def take(page: Path, target: Path) -> None:
    """The picture of a page as a screen shows it first."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"no browser to take the picture with: looked for {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        screen = browser.new_page(viewport=SCREEN, color_scheme="light")
        screen.goto(page.as_uri())
        screen.wait_for_selector("body[data-drawn]")
        screen.screenshot(path=target)
        browser.close()


if __name__ == "__main__":
    main()
