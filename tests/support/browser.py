"""A browser without a window, for pages: what they show, say in the console, and ask for."""

import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def browser():
    """A browser; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser on this machine: looked for {', '.join(NAMES)}")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


class Visit:
    """A page that is open.

    Args:
        opened: the browser.
        path: of the page's file.
        how: colour scheme, viewport and the like; of playwright.

    Attributes:
        page: of playwright.
        said: what came to the console, and errors.
        asked: addresses that were asked for, but for the file's own and those that hold their data.
    """

    def __init__(self, opened, path, **how):
        self.page = opened.new_context(**how).new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        address = path.absolute().as_uri()
        self.page.on("request", lambda request: self._note(request.url, address))
        self.page.goto(address)

    def _note(self, url, address):
        if url.partition("#")[0] != address and not url.startswith("data:"):
            self.asked.append(url)

    def colour(self, selector, what="color"):
        """A computed colour of an element, as (red, green, blue)."""
        told = self.page.eval_on_selector(selector, f"each => getComputedStyle(each)['{what}']")
        return tuple(int(part) for part in told.partition("(")[2].rstrip(")").split(",")[:3])
