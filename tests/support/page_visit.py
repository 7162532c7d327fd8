"""A page as a reader opens it, and what must not have happened when it is closed."""

from contextlib import contextmanager

from browser import Visit, browser


@contextmanager
def opened(path, **look):
    """An open page, of playwright; at the end, that nothing came to the console and nothing was asked for.

    Args:
        path: of the page's file.
        look: viewport, colour scheme and the like; of playwright.
    """
    with browser() as found:
        visit = Visit(found, path, **look)
        yield visit.page
        assert visit.said == []
        assert visit.asked == []
