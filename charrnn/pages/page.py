"""A page as one file: its style, its scripts and its data are inside, and nothing is asked for from elsewhere.

A page named "x" is the template ``x.html``, which extends ``base.html`` and fills its blocks; ``x.css`` and ``x.js``
beside it, where there are such files, are put into the page. A script reads the page's data by

    JSON.parse(document.getElementById("data").textContent)

The page's policy (Content-Security-Policy) forbids every request, and every script but those put in here, which it
names by their SHA-256. So nothing that stands in a text can run or call, even where escaping failed.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.files import write_atomically
from charrnn.reports.terminal import inert

if TYPE_CHECKING:
    from jinja2 import Environment

# Styles need no hash: they cannot run, and without requests they can tell nothing to anyone. Marks that scripts set
# on an element (style="left: 3px") are styles too.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}; "
    "base-uri 'none'; form-action 'none'"
)
# What would end a script's element, or begin a comment within it, before its time.
_ENDS_SCRIPT = re.compile(r"</script|<!--|<script", re.IGNORECASE)


def write_page(
    path: Path,
    name: str,
    *,
    title: str,
    data: object = None,
    libraries: Sequence[str] = (),
    **facts: Any,  # noqa: ANN401 - whatever the template shows
) -> int:
    """Writes a page, whole or not at all.

    Args:
        path: of the file; in an existing directory.
        name: of the page, as the module's docstring says.
        title: of the page, also its heading.
        data: for the page's script, as plain values; numbers must be finite. None for nothing.
        libraries: sources of scripts that run before the page's own.
        **facts: what the template shows; every text among them is escaped.

    Returns:
        The file's size in bytes.

    Raises:
        OutputError: it could not be written; the file before is as it was.
    """
    page = rendered(name, title=title, data=data, libraries=libraries, **facts).encode("utf-8", errors="replace")
    write_atomically(path, page)
    return len(page)


def rendered(
    name: str,
    *,
    title: str,
    data: object = None,
    libraries: Sequence[str] = (),
    **facts: Any,  # noqa: ANN401
) -> str:
    """The page that ``write_page`` writes, as text."""
    from markupsafe import Markup

    scripts = [_closed_in(script) for script in (*libraries, _source(f"{name}.js")) if script]
    return (
        _environment()
        .get_template(f"{name}.html")
        .render(
            title=title,
            data=data,
            policy=_POLICY.format(scripts=" ".join(map(_hash, scripts)) or "'none'"),
            # They are ours, not a text's, and stand where HTML knows no escapes.
            styles=[Markup(_source(each)) for each in ("base.css", f"{name}.css")],  # noqa: S704
            scripts=[Markup(script) for script in scripts],  # noqa: S704
            **facts,
        )
    )


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("charrnn.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Control characters and those that turn the direction of writing, shown as escapes, as on a terminal.
    environment.filters["inert"] = inert
    # Not finite is not JSON: better an error here than a page whose script cannot read its data.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def _source(name: str) -> str:
    """A file beside the templates; "" where there is none."""
    from jinja2 import TemplateNotFound

    environment = _environment()
    if environment.loader is None:
        raise RuntimeError("templates have no place")
    try:
        return environment.loader.get_source(environment, name)[0]
    except TemplateNotFound:
        return ""


def _closed_in(script: str) -> str:
    """The script as it can stand in a page.

    Raises:
        ValueError: it would end its own element.
    """
    # A browser reads "\r\n" as "\n", and the hash is of what it reads. It ignores spaces around, but hashes them.
    script = script.replace("\r\n", "\n").replace("\r", "\n")
    found = _ENDS_SCRIPT.search(script)
    if found:
        raise ValueError(f"a script that holds {found.group()!r} cannot stand in a page")
    return script


def _hash(script: str) -> str:
    """How a policy names a script that may run."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
