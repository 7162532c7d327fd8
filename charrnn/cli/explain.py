"""``charrnn explain``: how a model reads a text, in the terminal or as a page."""

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.options import with_settings
from charrnn.cli.run_argument import RunOrFile, chosen_run
from charrnn.cli.stdin import has_input
from charrnn.errors import OutputError, SettingsError
from charrnn.explaining.settings import ExplainSettings
from charrnn.fields import Settings, setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charrnn.explaining.explanation import Progress, Text

_IN_TERMINAL, _ON_PAGE = 20_000, 1_200_000  # characters read
_SHOWN = 1_200  # characters of those read that a terminal shows, where nothing else is asked for


@dataclass(frozen=True, kw_only=True)
class ShowingSettings(Settings):
    """What is read beside a file, and where it is shown.

    Attributes:
        text: the text itself.
        out: the page to write; None to show it in the terminal.
        quiet: say nothing beside the result but errors.
    """

    text: str | None = setting(None, help="Read this text itself.", is_given_once=True, panel="Reading")
    out: Path | None = setting(
        None,
        help="Write a page to look at in a browser, one file that needs no other; else it is shown here.",
        short="-o",
        metavar="FILE",
        panel="Output",
    )
    quiet: bool = setting(False, help="Say nothing beside the result but errors.", short="-q", panel="Output")


@with_settings(ExplainSettings, ShowingSettings)
def explain(
    model: RunOrFile = None,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="A text file; - is standard input, and is read too where no text is named and it is a file or a pipe.",
            show_default=False,
        ),
    ] = None,
    **given: Any,  # noqa: ANN401 - settings of every type
) -> None:
    """Show how a model reads a text.

    How much each character surprises the model and what it expected instead; the hidden units that follow something
    that a person can name, such as the place in the line or the inside of quotes; and how far back gradients reach.

    \b
    Examples:
      charrnn explain shakespeare held-out.txt
      charrnn explain shakespeare held-out.txt -o page.html
      charrnn explain shakespeare held-out.txt --with shakespeare-counts -o page.html
      charrnn explain shakespeare --text "To be, or not to be"
      charrnn explain shakespeare held-out.txt --length 2000 --reach 50
    """
    settings = ExplainSettings(**ExplainSettings.part_of(given))
    showing = ShowingSettings(**ShowingSettings.part_of(given))
    run = chosen_run(model)
    if showing.text is not None and source is not None:
        raise SettingsError("a TEXT and `text` are both given; leave one of them out")
    if showing.text is None and source is None:
        if not has_input(alternative="naming it as -", quiet=showing.quiet):
            raise SettingsError("name a TEXT to explain: a file, - for standard input, or the text itself with `text`")
        source = "-"
    if settings.threads is not None:
        # Read once, when torch and numpy's product library are loaded: the kernels alone are told otherwise.
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(settings.threads))

    from charrnn.explaining.explanation import explain as explain_text
    from charrnn.explaining.explanation import one_source, open_text
    from charrnn.reports.explanation import write_explanation
    from charrnn.reports.terminal import say, write_result
    from charrnn.storage.model_file import read_model
    from charrnn.storage.run_name import find_run
    from charrnn.text.source import typed_source

    if showing.out is not None:
        _check_out(showing.out)
    named = {str(model): run, **{name: find_run(name) for name in settings.with_}}
    if len(named) <= len(settings.with_):
        raise SettingsError("`with_` names the model itself; name another one")
    models = {_short(name): read_model(path) for name, path in named.items()}
    if len(models) < len(named):  # names that are told apart only by their directories
        models = {name: read_model(path) for name, path in named.items()}
    if showing.text is not None:
        found = typed_source(showing.text)
    else:
        found = one_source(source or "-", encoding=settings.encoding)
    length = settings.length or (_IN_TERMINAL if showing.out is None else _ON_PAGE)
    text = open_text(found, length=length, encoding=settings.encoding)
    with _progress(text, quiet=showing.quiet) as when_read:
        explanation = explain_text(models, text, settings, when_read=when_read)
    if text.is_cut and not showing.quiet:
        say(f"note: the first {length:,} characters of {text.name} are read; --length N reads more")
    if showing.out is None:
        write_explanation(explanation, num_shown=settings.length or _SHOWN)
        return
    from charrnn.pages.explanation import write_explanation_page

    size = write_explanation_page(showing.out, explanation)
    write_result(f"{showing.out}\n")
    if not showing.quiet:
        say(f"note: {size / 1e6:.1f} MB; open it in a browser")


def _short(name: str) -> str:
    """What a model is called: the last part of its path, but for the name that all model files have."""
    path = Path(name)
    return path.parent.name if path.name == "model.safetensors" and path.parent.name else path.name or name


def _check_out(path: Path) -> None:
    """Makes sure before anything is computed that a page can be written there.

    Raises:
        OutputError: it cannot.
    """
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a directory; name a file, such as page.html")
    if not path.parent.is_dir():
        raise OutputError(f"{str(path.parent)!r} is no directory; make it, or name another file")


@contextmanager
def _progress(text: "Text", *, quiet: bool) -> "Iterator[Progress]":
    """A bar for each thing that is done, on a terminal, where the text is long."""
    if quiet or not sys.stderr.isatty() or len(text.text) <= _IN_TERMINAL:
        yield lambda what, symbols: None
        return
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def when_read(what: str, symbols: int) -> None:
        if what not in bars:
            for bar in bars.values():
                bar.close()
            bars[what] = tqdm(total=None, desc=what, unit=" symbols", unit_scale=True, leave=False)
        bars[what].update(symbols)

    try:
        yield when_read
    finally:
        for bar in bars.values():
            bar.close()
