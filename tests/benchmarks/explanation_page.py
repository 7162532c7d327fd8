"""How heavy pages of charrnn explain are, and how long they take to load and to answer the first hover.

    python tests/benchmarks/explanation_page.py page.html ...

Each page is opened anew several times; the figures are medians in milliseconds.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))
from page_visit import opened

_TIMES = 5


def measure(path):
    """Milliseconds until the text can be read, until the first hover answers, and the same far down the text."""
    with opened(path, viewport={"width": 1200, "height": 900}) as page:
        page.wait_for_selector("body[data-ready]")
        loaded = page.evaluate("performance.now()")
        hovers = []
        for share in (0.0, 0.9):
            # Measured within the page: from the moment it is told of the pointer until what it expected stands there.
            waited = """(share) => new Promise((done) => {
                const viewer = document.getElementById("viewer");
                viewer.scrollTop = share * viewer.scrollHeight;
                setTimeout(() => {
                    const top = viewer.getBoundingClientRect().top + 200;
                    const rows = [...viewer.querySelectorAll(".row")];
                    const row = rows.find((each) => each.getBoundingClientRect().top > top && each.children.length > 9);
                    const detail = document.getElementById("detail");
                    const began = performance.now();
                    new MutationObserver((_, observer) => {
                        observer.disconnect();
                        requestAnimationFrame(() => done(performance.now() - began));
                    }).observe(detail, { childList: true });
                    const given = { bubbles: true, pointerType: "mouse" };
                    row.children[8].dispatchEvent(new PointerEvent("pointermove", given));
                }, 1000);
            })"""
            hovers.append(page.evaluate(waited, share))
        return [loaded, *hovers]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    for path in parser.parse_args().pages:
        began = time.perf_counter()
        rows = [measure(path) for _ in range(_TIMES)]
        loaded, first, far = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, text after {loaded:.0f} ms, first hover after "
            f"{first:.0f} ms, far down {far:.0f} ms  ({time.perf_counter() - began:.0f} s)"
        )


if __name__ == "__main__":
    main()
