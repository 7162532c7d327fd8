"""The reference page: every command with its options, made from the command line itself.

``python -m charrnn.cli.reference`` prints it; ``make docs`` writes it to docs/reference.md.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from typer.main import get_command

from charrnn.cli.app import COMMANDS, app, charrnn
from charrnn.cli.help import shown_default, written
from charrnn.cli.options import settings_of, value_word
from charrnn.fields import Setting
from charrnn.reports.terminal import write_result

_INTRODUCTION = """# Reference

Every command and every option. This page is made from the command line by `make docs`, and a test fails when it is
stale: edit the settings in the code, not this page. `charrnn COMMAND --help` shows the same in a terminal.
"""

_ON_CONFIG = """
Every option except `--config` and `--reset` may also stand in the TOML file that `--config` takes: without the dashes
in front, and with `_` or `-` between its words, as in `hidden_size = 512`. The texts are `texts`, a list. Options on
the command line win over the file. The column "on `--resume`" says whether the option may be given to a run that goes
on.
"""

_MORE = "Other options"


@dataclass(frozen=True)
class _Row:
    """One option or argument: how it is written, its heading, what it takes, its default, and what it does."""

    names: str
    panel: str
    value: str
    default: str
    on_resume: str
    meaning: str


def reference_page() -> str:
    """The page, in Markdown."""
    return "\n".join([_INTRODUCTION, *(_section(command) for command in (charrnn, *COMMANDS))])


def _section(command: Callable[..., None]) -> str:
    group = get_command(app)
    is_group = command is charrnn
    name = "charrnn" if is_group else f"charrnn {command.__name__}"
    known = settings_of(command)
    parameters = group.params if is_group else group.commands[command.__name__].params  # type: ignore[attr-defined]
    arguments = [_row(each, known) for each in parameters if each.param_type_name == "argument"]
    options = [_row(each, known) for each in parameters if each.param_type_name == "option"]
    if any(row.panel for row in options):
        options = [row if row.panel else replace(row, panel=_MORE) for row in options]

    description, _, examples = (inspect.getdoc(command) or "").partition("\b\nExamples:\n")
    usage = [name, *(["COMMAND"] if is_group else []), *(row.names for row in arguments), "[OPTIONS]"]
    parts = [f"## {name}", _code(" ".join(usage)), description.strip()]
    if examples:
        parts += ["Examples:", _code(inspect.cleandoc(examples), language="sh")]
    can_resume = "resume" in known
    if can_resume:
        parts.append(_ON_CONFIG.strip())
    if arguments:
        parts.append(_table("argument", arguments, can_resume=can_resume))
    for panel in dict.fromkeys(row.panel for row in options):
        if panel:
            parts.append(f"### {panel}")
        parts.append(_table("option", [row for row in options if row.panel == panel], can_resume=can_resume))
    return "\n\n".join(parts) + "\n"


def _row(parameter: Any, known: Mapping[str, Setting]) -> _Row:  # noqa: ANN401 - an option or argument of typer's
    setting = known.get(parameter.name)
    value, default = "", ""
    if parameter.param_type_name == "argument":
        names = written(parameter)
    else:
        short = [name for name in parameter.opts if not name.startswith("--")]
        long = [name for name in parameter.opts if name.startswith("--")]
        names = ", ".join(["/".join([*long, *parameter.secondary_opts]), *short])
        default = shown_default(parameter)
        words = (parameter.metavar or "").strip("<>").split("|")
        value = words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if setting is not None:
        value, default = _value(setting), "on" if setting.default is True else default
    return _Row(
        names=names,
        panel=parameter.rich_help_panel or "",
        value=value,
        default=default,
        on_resume="yes" if setting is not None and setting.changes_on_resume else "no",
        meaning=parameter.help or "",
    )


def _value(setting: Setting) -> str:
    """What a setting takes, in words; "" for a switch."""
    if setting.kind is bool:
        return ""
    is_exact = setting.choices or setting.kind in (int, float)
    return setting.requirement if is_exact else value_word(setting)


def _table(heading: str, rows: list[_Row], *, can_resume: bool) -> str:
    is_option = heading == "option"
    headings = [heading, *(["value", "default"] if is_option else []), *(["on `--resume`"] if can_resume else [])]
    lines = [[*headings, "meaning"]]
    for row in rows:
        cells = [f"`{row.names}`", *([row.value, row.default] if is_option else [])]
        lines.append([*cells, *([row.on_resume] if can_resume else []), row.meaning])
    return "\n".join(_ruled(lines))


def _ruled(lines: list[list[str]]) -> Iterator[str]:
    for number, cells in enumerate(lines):
        joined = " | ".join(cell.replace("|", "\\|") for cell in cells)
        yield f"| {joined} |"
        if number == 0:
            yield "|" + "---|" * len(cells)


def _code(text: str, *, language: str = "text") -> str:
    return f"```{language}\n{text}\n```"


if __name__ == "__main__":
    write_result(reference_page())
