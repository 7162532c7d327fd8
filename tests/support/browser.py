"""A browser without a window, for pages: the system's Chromium, driven by playwright."""

import contextlib
import shutil

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser_or_skip():
    """Path of a browser; skips the test where there is none, or nothing to drive it with."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"no browser to look at pages with: none of {', '.join(_NAMES)}")
    return found


@contextlib.contextmanager
def opened(path, **look):
    """A page as a reader opens it; at the end, what must not have happened is made sure of.

    Args:
        path: of the page's file.
        look: options of playwright's ``new_context``, such as viewport, color_scheme, has_touch.
    """
    executable = browser_or_skip()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            page = browser.new_context(**look).new_page()
            wrong, requests = [], []
            page.on("console", lambda message: wrong.append(message.text))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            address = path.resolve().as_uri()
            page.goto(address)
            yield page
            assert wrong == []
            assert [url for url in requests if not url.startswith("data:")] == [address]
        finally:
            browser.close()
