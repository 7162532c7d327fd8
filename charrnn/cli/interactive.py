"""The prompt of ``charrnn sample --interactive``: begin a text, see it go on, choose, change, save."""

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.cli.signals import wakeup_kept
from charrnn.errors import CharRNNError, OutputError, SettingsError
from charrnn.fields import did_you_mean, on_command_line
from charrnn.inference.settings import GenerationSettings
from charrnn.reports.style import num_columns, painted, shows_colour
from charrnn.reports.terminal import inert, say, write_result

if TYPE_CHECKING:
    from charrnn.cli.signals import StopRequest
    from charrnn.models.predictor import Predictor
    from charrnn.text.vocab import Vocab

MAIN_PROMPT = "> "
_CHANGEABLE = ("temperature", "top_k", "top_p", "min_p", "length", "seed", "stop")
_IN_TOOLBAR = ("temperature", "top_k", "length", "seed")
_NUM_CHOICES = 10
_BAR = 20  # characters of a choice that is certain
_LABEL = 14  # characters of a choice's number and name
_COMMAND = re.compile(r"/([a-z][a-z_-]*)(?: (.*))?$", re.DOTALL)
_NAMED_CHARS = {" ": "space", "\n": "newline", "\t": "tab", "\r": "return"}

Ask = Callable[[str], str]
"""Asks for a line; raises EOFError where the user leaves, KeyboardInterrupt where the line is given up."""


class _Command(NamedTuple):
    argument: str
    help: str


_COMMANDS = {
    "again": _Command("", "another continuation of the same text"),
    "add": _Command("TEXT", "put TEXT at the end, and go on from there"),
    "pick": _Command("", "choose among the most likely next characters"),
    "undo": _Command("", "take the last step back"),
    "show": _Command("", "the whole text"),
    "save": _Command("[FILE]", "write the whole text to a file"),
    "text": _Command("TEXT", "begin with TEXT, whatever it begins with"),
    "settings": _Command("", "every setting with its value"),
    "help": _Command("", "this"),
    "quit": _Command("", "leave; Ctrl-D too"),
}
_NAMES = [*_COMMANDS, *(name.replace("_", "-") for name in _CHANGEABLE)]
_OPTION = re.compile(rf"--(?=({'|'.join(_NAMES)})\b)")


@dataclass
class _Text:
    """A text in the making.

    Attributes:
        whole: all of it.
        last_from: how much of it stood before the last writing.
    """

    whole: str = ""
    last_from: int = 0


class Conversation:
    """What a user and a model write together; knows no terminal but that it prints.

    Args:
        predictor: the model.
        vocab: its vocabulary.
        settings: how it writes at first.
        name: of the model, for names of files.
        ask: asks for a line.
        was_stopped: whether the user has asked to stop writing since this was asked last.
        raw: send control characters to the terminal as they are.
    """

    def __init__(
        self,
        predictor: "Predictor",
        vocab: "Vocab",
        settings: GenerationSettings,
        *,
        name: str,
        ask: Ask,
        was_stopped: Callable[[], bool],
        raw: bool = False,
    ) -> None:
        self.settings = settings
        self._predictor = predictor
        self._vocab = vocab
        self._name = name
        self._ask = ask
        self._was_stopped = was_stopped
        self._raw = raw
        self._text = _Text()
        self._before: list[_Text] = []
        self._is_over = False
        self._is_on_new_line = True

    def run(self, beginning: str = "") -> None:
        """Goes on until the user leaves.

        Args:
            beginning: a text to begin with at once; "" waits for one.
        """
        if beginning:
            self._guarded(lambda: self._begin(beginning))
        while not self._is_over:
            try:
                line = self._ask(MAIN_PROMPT)
            except KeyboardInterrupt:
                say("note: Ctrl-D or /quit leaves")
                continue
            except EOFError:
                return
            self._guarded(lambda line=line: self._obey(line))  # type: ignore[misc]

    def _guarded(self, action: Callable[[], None]) -> None:
        """Does something; what a user can do wrong ends no conversation."""
        try:
            action()
        except OutputError as error:
            if "standard output" in str(error):  # nobody sees what follows
                raise
            say(f"charrnn: {error}")
        except CharRNNError as error:
            say(f"charrnn: {_OPTION.sub('/', on_command_line(str(error)))}")

    def _obey(self, line: str) -> None:
        match = _COMMAND.match(line)
        if not line:
            self._write_from(self._text.whole)
        elif not match:
            self._begin(line)
        else:
            name, argument = _full_name(match[1]), match[2] or ""
            if name in _COMMANDS:
                if argument and not _COMMANDS[name].argument:
                    raise SettingsError(f"/{name} takes nothing after it; to begin with this text: /text {line}")
                action = getattr(self, f"_do_{name}")
                action(argument) if _COMMANDS[name].argument else action()
            else:
                self._set(name.replace("-", "_"), argument.strip())

    # ---- writing ----

    def _begin(self, text: str) -> None:
        self._vocab.encode(text)  # refused before what stands is left
        self._write_from(text)

    def _do_text(self, text: str) -> None:
        if not text:
            raise SettingsError("/text needs the text to begin with, as in: /text /etc/passwd")
        self._begin(text)

    def _do_add(self, text: str) -> None:
        if not text:
            raise SettingsError("/add needs the text to add, as in: /add and then")
        self._begin(self._text.whole + text)

    def _do_again(self) -> None:
        self._write_from(self._text.whole[: self._text.last_from])

    def _write_from(self, text: str) -> None:
        """Goes on from a text until it is long enough or the user stops it."""
        from charrnn.inference.generation import generate

        self._was_stopped()  # what came before is over
        self._stand_at(text)
        self._print_last_line(text)
        ended = "stopped"
        for chunk in generate(self._predictor, self._vocab, self.settings, prompt=text):
            self._text.whole += chunk.text
            self._print(chunk.text)
            ended = chunk.ended or ended
            if self._was_stopped():
                break
        num_chars = len(self._text.whole) - len(text)
        self._print_note(f"{num_chars:,} characters, seed {self.settings.seed}{_ENDS[ended]}")
        # The next text is another one, and can be had again.
        self.settings = replace(self.settings, seed=(self.settings.seed + 1) % 2**63)

    def _stand_at(self, text: str) -> None:
        """Makes another text the one that stands; the one before it comes back by ``/undo``."""
        self._before.append(self._text)
        self._text = _Text(text, len(text))

    # ---- choosing ----

    def _do_pick(self) -> None:
        from charrnn.inference.next_chars import most_likely

        while True:
            choices = most_likely(self._predictor, self._vocab, self._text.whole, count=_NUM_CHOICES)
            self._print_last_line(self._text.whole.removesuffix("\n"))
            if self._text.whole.endswith("\n"):
                self._print("⏎", "weak")  # else it looks as it did before it was chosen
            self._end_line()
            for number, (char, probability) in enumerate(choices, start=1):
                label = f"{number:>3}  {_shown(char)}"
                bar = "█" * round(_BAR * probability)
                write_result(f"{label:<{_LABEL}}{100 * probability:5.1f} %  {bar}".rstrip() + "\n")
            chosen = self._chosen(len(choices))
            if chosen is None:
                return
            self._stand_at(self._text.whole + choices[chosen].char)

    def _chosen(self, num_choices: int) -> int | None:
        """The index of a choice; None where the user chooses no more."""
        while True:
            try:
                answer = self._ask(f"1-{num_choices}, or Enter to end> ").strip()
            except (EOFError, KeyboardInterrupt):
                return None
            if not answer:
                return None
            if answer.isdecimal() and 1 <= int(answer) <= num_choices:
                return int(answer) - 1
            say(f"note: type the number of a character, 1 to {num_choices}; Enter alone chooses no more")

    # ---- the rest ----

    def _do_undo(self) -> None:
        if not self._before:
            raise SettingsError("there is nothing to take back")
        self._text = self._before.pop()
        self._do_show()

    def _do_show(self) -> None:
        self._print(self._text.whole or "(nothing yet)")
        self._print_note(f"{len(self._text.whole):,} characters")

    def _do_save(self, argument: str) -> None:
        from charrnn.files import write_atomically

        if not self._text.whole:
            raise SettingsError("there is nothing to save yet")
        path = Path(argument.strip()).expanduser() if argument.strip() else self._free_path()
        if path.is_dir():
            raise SettingsError(f"{path} is a directory; name a file in it")
        if os.path.lexists(path) and not self._agreed(f"{path} is there already; replace it? y or n> "):
            self._print_note("not saved")
            return
        write_atomically(path, self._text.whole.encode())
        self._print_note(f"{len(self._text.whole):,} characters saved in {path}")

    def _free_path(self) -> Path:
        number = 1
        while os.path.lexists(path := Path(f"{self._name}-{number}.txt")):
            number += 1
        return path

    def _agreed(self, question: str) -> bool:
        try:
            return self._ask(question).strip().lower() in ("y", "yes")
        except (EOFError, KeyboardInterrupt):
            return False

    def _set(self, name: str, value: str) -> None:
        known = GenerationSettings.settings()[name]
        if value:
            changed: dict[str, Any] = {name: None if name == "stop" and value == "off" else known.parse(value)}
            self.settings = replace(self.settings, **changed)
        self._print_note(self._setting(name))

    def _do_settings(self) -> None:
        for name in _CHANGEABLE:
            self._print_note(self._setting(name))

    def _setting(self, name: str) -> str:
        value = getattr(self.settings, name)
        is_off = value is None or (name == "top_k" and not value)
        shown = "off" if is_off else f"{value:,}" if name == "length" else str(value)
        return f"{name.replace('_', '-')} {shown}"

    def _do_help(self) -> None:
        known = GenerationSettings.settings()
        rows = [
            ("TEXT", "begin a new text; the model goes on with it"),
            ("Enter", "alone: go on from here"),
            ("Ctrl-C", "stop the writing, or give up the line"),
            ("Alt-Enter", "a new line within a text; Esc, then Enter, too"),
            *((f"/{name} {command.argument}".rstrip(), command.help) for name, command in _COMMANDS.items()),
            *((f"/{name.replace('_', '-')} {_value(name)}", known[name].help) for name in _CHANGEABLE),
            ("/stop off", "end no sample early"),
        ]
        width = max(len(name) for name, _ in rows) + 2
        columns = num_columns(sys.stdout)
        for name, text in rows:
            lines = textwrap.wrap(text, max(columns - width - 1, 20))
            write_result(f"{name:<{width}}" + f"\n{' ' * width}".join(lines) + "\n")
        self._print_note("a command may be cut short: /t 0.7 is unclear, /temp 0.7 is not; Tab completes it")

    def _do_quit(self) -> None:
        self._is_over = True

    @property
    def toolbar(self) -> str:
        """What holds now, in a line."""
        return "  ".join(self._setting(name) for name in _IN_TOOLBAR)

    # ---- printing ----

    def _print_last_line(self, text: str) -> None:
        """What the next character comes after: the text's last line with something in it."""
        stripped = text.rstrip("\n")
        self._print(text[stripped.rfind("\n") + 1 :], "strong")

    def _print(self, text: str, style: str = "") -> None:
        if style and not self._raw and shows_colour(sys.stdout):
            write_result(painted(inert(text), style), raw=True)
        else:
            write_result(text, raw=self._raw)
        self._is_on_new_line = text.endswith("\n") if text else self._is_on_new_line

    def _print_note(self, text: str) -> None:
        """A line that is no part of the text, below it."""
        self._end_line()
        shown = inert(f"[{text}]")
        write_result((painted(shown, "weak") if shows_colour(sys.stdout) else shown) + "\n", raw=True)
        self._is_on_new_line = True

    def _end_line(self) -> None:
        if not self._is_on_new_line:
            write_result("\n")
        self._is_on_new_line = True


_ENDS = {"length": "", "stop": ", at the stop text", "stopped": ", stopped"}


def _full_name(begun: str) -> str:
    """The command or setting that begins so.

    Raises:
        SettingsError: none does, or several do.
    """
    begun = begun.replace("_", "-")
    found = [begun] if begun in _NAMES else [name for name in _NAMES if name.startswith(begun)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SettingsError(f"/{begun} may be {', '.join('/' + name for name in found)}; type more of it")
    hint = did_you_mean(begun, _NAMES).replace("mean ", "mean /")
    raise SettingsError(f"there is no command /{begun}{hint}; /help lists them; /text /{begun} begins with this text")


def _value(name: str) -> str:
    return {"stop": "TEXT"}.get(name, "NUMBER")


def _shown(char: str) -> str:
    """A character as a choice: itself, or its name."""
    if char in _NAMED_CHARS:
        return _NAMED_CHARS[char]
    return char if char.isprintable() else ascii(char)[1:-1]


@contextmanager
def on_terminal(request: "StopRequest", toolbar: Callable[[], str]) -> Iterator[tuple[Ask, Callable[[], bool]]]:
    """A terminal with line editing and history, for a ``Conversation``.

    Args:
        request: of the command; within the block Ctrl-C ends it no more.
        toolbar: what stands below the line that is typed.

    Yields:
        what asks for a line, and what says whether Ctrl-C has come since.
    """
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.shortcuts import CompleteStyle
    from prompt_toolkit.styles import Style

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def insert_newline(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    texts: PromptSession[str] = PromptSession(
        completer=WordCompleter([f"/{name}" for name in _NAMES], sentence=True),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        reserve_space_for_menu=0,
        key_bindings=keys,
        bottom_toolbar=lambda: inert(toolbar()),
        style=Style.from_dict({"bottom-toolbar": "noreverse"}),
    )
    answers: PromptSession[str] = PromptSession()  # numbers, yes and no: not worth remembering

    def ask(message: str) -> str:
        with wakeup_kept():
            return (texts if message == MAIN_PROMPT else answers).prompt(message)

    with request.taking_interrupts() as was_stopped:
        yield ask, was_stopped
