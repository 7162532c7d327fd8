"""A page is one file that asks for nothing, and nothing in a text becomes part of it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from jinja2 import DictLoader, Environment

from charrnn.errors import OutputError
from charrnn.pages import page

HOSTILE = """</script><script>alert(1)</script><img src=x onerror=alert(2)>&"'<!--\u2028\x1b[2J\u202eabc\ud800"""
TEMPLATE = '{% extends "base.html" %}{% block main %}<p title="{{ words }}">{{ words }}</p>{% endblock %}'
SCRIPT = "const here = 1 < 2 && 3 > 2;"


@pytest.fixture
def small(monkeypatch):
    """A page "small" beside the base of all pages."""
    real = page._environment.__wrapped__()
    names = ("base.html", "base.css")
    sources = {name: real.loader.get_source(real, name)[0] for name in names}
    made = Environment(autoescape=True, loader=DictLoader(sources | {"small.html": TEMPLATE, "small.js": SCRIPT}))
    made.filters, made.policies = real.filters, real.policies
    monkeypatch.setattr(page, "_environment", lambda: made)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and what stands in its scripts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts, self._in_script = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in_script = False

    def handle_data(self, data):
        if self._in_script:
            self.scripts[-1] += data


def test_what_a_text_holds_stays_text(small):
    text = page.rendered("small", title=HOSTILE, data={"text": HOSTILE}, words=HOSTILE)
    tags = [tag for tag, _ in Elements(text).found]
    assert tags.count("script") == 2  # the data and the page's own
    assert "img" not in tags
    assert "\x1b" not in re.search(r"<h1>(.*)</h1>", text)[1]
    elements = Elements(text)
    assert next(given["title"] for tag, given in elements.found if tag == "p") == HOSTILE
    assert json.loads(elements.scripts[0]) == {"text": HOSTILE}


def test_the_policy_forbids_requests_and_names_each_script(small):
    elements = Elements(page.rendered("small", title="t", words="", libraries=["let library = 1;"]))
    policy = next(a["content"] for t, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    rules = {name: values for name, *values in (part.split() for part in policy.split(";"))}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert elements.scripts == ["let library = 1;", SCRIPT]
    digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in elements.scripts]
    assert rules["script-src"] == [f"'sha256-{digest}'" for digest in digests]
    assert not any("src" in given or given.get("href", "data:,") != "data:," for _, given in elements.found)


@pytest.mark.parametrize("script", ["a</Script >", "<!-- a", "'<script'"])
def test_a_script_that_would_end_its_element_is_refused(small, script):
    with pytest.raises(ValueError, match="cannot stand in a page"):
        page.rendered("small", title="t", words="", libraries=[script])


def test_data_that_is_not_finite_is_refused(small):
    with pytest.raises(ValueError, match="not JSON compliant"):
        page.rendered("small", title="t", words="", data=[float("nan")])


def test_a_page_is_written_whole_with_its_size(small, tmp_path):
    path = tmp_path / "page.html"
    size = page.write_page(path, "small", title=HOSTILE, words=HOSTILE)
    assert path.stat().st_size == size
    assert path.read_text(encoding="utf-8").endswith("</html>")
    with pytest.raises(OutputError, match="cannot write"):
        page.write_page(tmp_path / "nowhere" / "page.html", "small", title="t", words="")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_the_shared_style_asks_for_nothing():
    style = page._source("base.css")
    assert "prefers-color-scheme: dark" in style
    assert not re.search(r"@import|url\(|@font-face", style)
    assert page._source("no-such.css") == ""
