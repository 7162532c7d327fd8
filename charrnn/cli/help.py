"""The help of a command: how it is typed, what it does, examples, and a panel for each kind of option.

On a terminal the panels have borders and colours; elsewhere they are plain lines under headings.
"""

import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charrnn.reports.style import fitted, num_columns, painted, shows_colour

_WIDEST = 100  # characters of a line: longer ones are hard to read
_LEAST_MEANING = 32  # characters beside the names: where there are fewer, what is meant stands below
_MOST_NAMES = 36
_UNBREAKABLE = "\u00a0"  # the space at which no line ends
_ARGUMENTS, _OPTIONS, _COMMANDS = "Arguments", "Options", "Commands"


@dataclass(frozen=True)
class Row:
    """An option, an argument or a command, as help lists it.

    Attributes:
        names: as they are typed, such as "-o, --out".
        value: what it takes, such as "<directory>"; "" for nothing.
        meaning: what it is for.
        default: what holds where it is not given; "" where there is nothing to say.
        panel: heading under which it stands.
    """

    names: str
    value: str
    meaning: str
    default: str
    panel: str


def row_of(parameter: Any) -> Row:  # noqa: ANN401 - an option or argument of typer's
    """The row of an option or argument."""
    meaning = parameter.help or ""
    panel = parameter.rich_help_panel or ""
    if parameter.param_type_name == "argument":
        return Row(written(parameter), "", meaning, "", panel or _ARGUMENTS)
    short = [name for name in parameter.opts if not name.startswith("--")]
    long = [name for name in parameter.opts if name.startswith("--")]
    names = ", ".join([*sorted(short), " / ".join([*long, *parameter.secondary_opts])])
    value = "" if parameter.is_flag else parameter.metavar
    return Row(names if short else f"    {names}", value, meaning, shown_default(parameter), panel or _OPTIONS)


def written(argument: Any) -> str:  # noqa: ANN401 - an argument of typer's
    """An argument as usage shows it: RUN, [PROMPT], TEXT..."""
    word = argument.metavar.removesuffix("...")
    return (word if argument.required else f"[{word}]") + ("..." if argument.nargs == -1 else "")


def shown_default(option: Any) -> str:  # noqa: ANN401 - an option of typer's
    """What help says of an option's default; "" for nothing."""
    if isinstance(option.show_default, str):
        return option.show_default
    return str(option.default) if isinstance(option.default, str | Path) else ""


def title(context: Any) -> str:  # noqa: ANN401 - typer's
    """The words that call a command, such as "charrnn train", however the program was started."""
    name = str(context.command.name)
    return name if context.parent is None else f"{title(context.parent)} {name}"


def usage(context: Any) -> str:  # noqa: ANN401 - typer's
    """How a command is typed, such as "charrnn sample RUN_OR_FILE [PROMPT] [OPTIONS]"."""
    arguments = [written(each) for each in context.command.params if each.param_type_name == "argument"]
    is_group = hasattr(context.command, "commands")
    return " ".join([title(context), *(["COMMAND"] if is_group else []), *arguments, "[OPTIONS]"])


def help_page(context: Any) -> str:  # noqa: ANN401 - typer's
    """The help of a context's command, for standard output as it is."""
    command = context.command
    page = _Page(
        min(num_columns(sys.stdout), _WIDEST),
        is_terminal=sys.stdout.isatty(),
        colour=shows_colour(sys.stdout),
        has_lines=(sys.stdout.encoding or "").lower().startswith("utf"),
    )
    rows = [row_of(each) for each in command.get_params(context) if not each.hidden]
    description, _, examples = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    commands = [
        Row(name, "", _first_sentence(each.help or ""), "", _COMMANDS)
        for name, each in getattr(command, "commands", {}).items()
        if not each.hidden
    ]
    parts = [page.usage(usage(context)), page.prose(description)]
    if examples:
        parts.append(page.examples(inspect.cleandoc(examples).splitlines()))
    parts += page.panels([*commands, *rows])
    return "\n".join(parts)


class _Page:
    """Text in the style of one stream.

    Args:
        width: of a line, in characters.
        is_terminal: whether panels have borders, and lines are cut to fit.
        colour: whether there are colours.
        has_lines: whether the borders may be drawn with lines, which are not ASCII.
    """

    def __init__(self, width: int, *, is_terminal: bool, colour: bool, has_lines: bool) -> None:
        self._width = width
        self._is_terminal = is_terminal
        self._colour = colour
        self._border = "╭─╮│╰╯" if has_lines else "+-+|++"

    def usage(self, text: str) -> str:
        return f"{self._painted('Usage:', 'strong')} {fitted(text, self._width, indent=len('Usage: '))}\n"

    def prose(self, text: str) -> str:
        paragraphs = [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
        return "\n\n".join(fitted(paragraph, self._width) for paragraph in paragraphs) + "\n"

    def examples(self, commands: Iterable[str]) -> str:
        lines = [f"  {line}" for command in commands for line in self._cut(command)]
        return "\n".join([self._painted("Examples:", "strong"), *lines]) + "\n"

    def _cut(self, command: str) -> list[str]:
        """A command in lines that can be typed as they are: cut before an option or a pipe, with a backslash."""
        lines = [""]
        for part in re.split(" (?=[-|])", command):
            if self._is_terminal and lines[-1] and len(lines[-1]) + len(part) + 3 > self._width - 2:
                lines[-1] += " \\"
                lines.append(f"    {part}")
            else:
                lines[-1] += f" {part}" if lines[-1] else part
        return lines

    def panels(self, rows: Sequence[Row]) -> list[str]:
        """Rows under their headings, those of one panel together: the general ones last."""
        names = list(dict.fromkeys(row.panel for row in rows))
        names.sort(key=lambda name: name == _OPTIONS)
        inner = self._width - 4
        panels = []
        for name in names:
            together = [row for row in rows if (row.panel == _COMMANDS) == (name == _COMMANDS)]  # begin in one column
            width = max((len(_left(row)) for row in together if len(_left(row)) <= _MOST_NAMES), default=0)
            if inner - width - 2 < _LEAST_MEANING:
                width = 0
            lines = [line for row in rows if row.panel == name for line in self._lines(row, inner, width)]
            panels.append(self._panel(name, lines))
        return panels

    def _lines(self, row: Row, inner: int, width: int) -> list[tuple[str, str]]:
        """Lines of a row, each without and with its colours; names and meaning side by side if ``width`` is not 0."""
        left = _left(row)
        painted_left = self._painted(row.names, "name") + left[len(row.names) :]
        if row.value:
            painted_left = painted_left.removesuffix(row.value) + self._painted(row.value, "value")
        indent = width + 2 if width else 6
        default = f" [default: {row.default}]" if row.default else ""
        if len(default) <= _LEAST_MEANING:
            default = " " + default[1:].replace(" ", _UNBREAKABLE)
        told = fitted(row.meaning + default, inner - indent).replace(_UNBREAKABLE, " ").split("\n")
        shown = self._with_weak_default(told) if row.default else told
        below = [(" " * indent + plain, " " * indent + styled) for plain, styled in zip(told, shown, strict=True)]
        if not width or len(left) > width:
            return [(left, painted_left), *below]
        gap = " " * (indent - len(left))
        return [(f"{left}{gap}{told[0]}", f"{painted_left}{gap}{shown[0]}"), *below[1:]]

    def _with_weak_default(self, lines: list[str]) -> list[str]:
        shown, is_default = [], False
        for line in lines:
            before, mark, after = line.partition("[default:") if not is_default else ("", "", line)
            is_default = is_default or bool(mark)
            shown.append(before + self._painted(mark + after, "weak") if is_default else line)
        return shown

    def _panel(self, name: str, lines: Sequence[tuple[str, str]]) -> str:
        if not self._is_terminal:
            return "\n".join([f"{name}:", *(f"  {plain}".rstrip() for plain, _ in lines), ""])
        top_left, flat, top_right, upright, bottom_left, bottom_right = tuple(self._border)
        side = self._painted(upright, "weak")
        inner = self._width - 4
        rest = flat * (inner - len(name) - 1)
        top = self._painted(f"{top_left}{flat}", "weak") + f" {self._painted(name, 'strong')} "
        framed = [f"{side} {shown}{' ' * (inner - len(plain))} {side}" for plain, shown in lines]
        bottom = self._painted(f"{bottom_left}{flat * (self._width - 2)}{bottom_right}", "weak")
        return "\n".join([f"{top}{self._painted(f'{rest}{top_right}', 'weak')}", *framed, bottom])

    def _painted(self, text: str, style: str) -> str:
        return painted(text, style) if self._colour else text


def _left(row: Row) -> str:
    return f"{row.names} {row.value}".rstrip()


def _first_sentence(text: str) -> str:
    paragraph = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    return paragraph if ". " not in paragraph else paragraph[: paragraph.index(". ") + 1]
