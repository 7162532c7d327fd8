"""Settings: each one's name, type, range, default and help stand once, where the setting is declared.

A group of settings is a frozen dataclass that derives from ``Settings`` and declares its fields with ``setting``. From
that one statement follow the checks, the command line, configuration files, JSON and the reference page.

>>> @dataclass(frozen=True, kw_only=True)
... class Lens(Settings):
...     aperture: float = setting(2.8, help="Size of the opening.", above=0, high=64)
>>> Lens().to_json(), Lens.settings()["aperture"].option
({'aperture': 2.8}, '--aperture')
>>> Lens(aperture=0)
Traceback (most recent call last):
charrnn.errors.SettingsError: aperture is 0; it must be a number above 0 and at most 64
"""

import math
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from charrnn.errors import SettingsError

_KEY = "setting"
_ALWAYS_THERE: Any = object()
_SHOWN_CHARS = 60  # of a wrong value that a message quotes
_PLAIN = re.compile(r"[A-Za-z0-9.,+-]{1,40}")
_NAMED = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


@dataclass(frozen=True)
class Setting:
    """What is known of one setting.

    Attributes:
        name: of the field; the option has the same name, with dashes.
        kind: int, float, bool, str or Path; where there may be many values, the type of each.
        is_optional: whether None is a value: not given, or to be chosen.
        is_many: whether the value is a tuple.
        default: the field's default; ``dataclasses.MISSING`` where there is none.
        help: one or two sentences for the user.
        low: the lowest number allowed.
        above: the number that it must exceed.
        high: the highest number allowed.
        below: the number that it must not reach.
        choices: the words allowed; empty for any text.
        panel: heading under which the help lists it.
        short: an option of one letter, such as "-n"; "" for none.
        metavar: what stands for the value in the help; "" for a word made of its type.
        shown_default: what the help says of the default, where the field's own value would say less.
        names_run: whether its value names a run, which the shell can complete.
        changes_on_resume: whether a run that goes on may be given another value.
        is_given_once: whether the command line refuses it a second time; else the last value holds.
        is_argument: whether the command line takes it by position, not by an option's name.
        is_internal: whether it has no option, because it follows from other things.
        before: the value that was in effect before the setting existed: what was stored then has it.
    """

    name: str
    kind: type
    is_optional: bool
    is_many: bool
    default: Any
    help: str
    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    panel: str = ""
    short: str = ""
    metavar: str = ""
    shown_default: str | None = None
    names_run: bool = False
    changes_on_resume: bool = False
    is_given_once: bool = False
    is_argument: bool = False
    is_internal: bool = False
    before: Any = _ALWAYS_THERE

    @property
    def option(self) -> str:
        """Its name on the command line, such as "--hidden-size"; for an argument, the word for its value."""
        return self.metavar if self.is_argument else _option(self.name)

    @property
    def requirement(self) -> str:
        """What a value must be, in words such as "a whole number from 1 to 65,536"."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is bool:
            return "true or false"
        if self.kind is Path:
            return "a path"
        if self.kind not in (int, float):
            return "a text"
        noun = "a whole number" if self.kind is int else "a number"
        if self.low is not None and self.high is not None:
            return f"{noun} from {_number(self.low)} to {_number(self.high)}"
        bounds = [
            f"{word} {_number(bound)}"
            for word, bound in (
                ("at least", self.low),
                ("above", self.above),
                ("at most", self.high),
                ("below", self.below),
            )
            if bound is not None
        ]
        return " ".join([noun, " and ".join(bounds)]).rstrip()

    def check(self, value: object) -> None:
        """Makes sure that ``value`` is one that this setting can have.

        Raises:
            SettingsError: it is not; the message names setting, value and range.
        """
        if value is None and self.is_optional:
            return
        each = ""
        if self.is_many:
            each = "a list, each "
            is_right = isinstance(value, tuple) and all(self._takes(one) for one in value)
        else:
            is_right = self._takes(value)
        if not is_right:
            hint = did_you_mean(value, self.choices)
            raise SettingsError(f"{self.name} is {_quoted(value)}; it must be {each}{self.requirement}{hint}")

    def parse(self, text: str) -> Any:  # noqa: ANN401 - of the setting's type
        """The value that ``text`` writes, as a user types it after the option.

        Raises:
            SettingsError: it writes none that this setting can have; the message names option, text and range.
        """
        value: Any = text
        if self.kind in (int, float):
            try:
                value = self.kind(text)
            except ValueError:  # not a number, or one of too many digits
                value = None
        elif self.kind is Path:
            value = Path(text) if text else None
        if not self._takes(value):
            hint = did_you_mean(text, self.choices)
            if self.kind in (int, float) and "," in text:
                hint = "; write 1000 without a comma, and 1.5 with a point"
            shown = text if _PLAIN.fullmatch(text) else _quoted(text)
            raise SettingsError(f"{self.option} {shown}: must be {self.requirement}{hint}")
        return value

    def from_plain(self, value: Any) -> Any:  # noqa: ANN401 - any JSON or TOML value
        """A value as JSON or TOML holds it, made that of the field.

        A list becomes a tuple, a text a path, and a whole number a float where the field is one.
        """
        if self.kind is float and type(value) is int and _is_finite(value):
            return float(value)
        if self.is_many and isinstance(value, list):
            return tuple(value)
        if self.kind is Path and isinstance(value, str) and value:
            return Path(value)
        return value

    def _takes(self, value: Any) -> bool:  # noqa: ANN401 - whatever was given
        if self.kind is float:
            is_kind = type(value) in (int, float) and _is_finite(value)
        else:
            # No file's name has a NUL, and the system's functions raise errors of their own where one is given.
            is_path = isinstance(value, Path) and "\0" not in str(value)
            is_kind = is_path if self.kind is Path else type(value) is self.kind
        if not is_kind:
            return False
        if self.choices:
            return value in self.choices
        return (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )


def setting(
    default: Any = MISSING,  # noqa: ANN401 - of the field's type
    *,
    help: str,  # noqa: A002 - the word that command lines use
    choices: Iterable[str] = (),
    **more: Any,  # noqa: ANN401 - attributes of Setting
) -> Any:  # noqa: ANN401 - a field of any type
    """A dataclass field that declares a setting.

    Args:
        default: its value where none is given; left out, one must be given.
        help: one or two sentences for the user.
        choices: the words allowed.
        more: further attributes of ``Setting``, such as low, high, panel, short.
    """
    return field(default=default, metadata={_KEY: {"help": help, "choices": tuple(choices), **more}})


class Settings:
    """A group of settings: a frozen dataclass whose fields are declared with ``setting``.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    def __post_init__(self) -> None:
        """Checks each value, then what the values must be together."""
        for name, known in self.settings().items():
            known.check(getattr(self, name))
        self.check_together()

    def check_together(self) -> None:
        """Makes sure that the values go together; a group that has such rules states them here.

        Raises:
            SettingsError: they do not.
        """

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """The settings of the group by name, in the order of their declaration."""
        known: dict[str, Setting] | None = cls.__dict__.get("_known")
        if known is None:
            known = _declared(cls)
            cls._known = known  # type: ignore[attr-defined]
        return known

    @classmethod
    def part_of(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of ``values`` that belong to this group."""
        return {name: values[name] for name in cls.settings() if name in values}

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, for ``from_json``."""
        return {name: _plain(getattr(self, name)) for name in self.settings()}

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Settings from plain values: none unknown, and missing only those that say what was in effect before them.

        Raises:
            SettingsError: a key is missing or unknown, or a value is out of range.
        """
        known = cls.settings()
        group = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()
        if not isinstance(values, Mapping):
            raise SettingsError(f"{group}: no table of settings")
        stored = {name: each.before for name, each in known.items() if each.before is not _ALWAYS_THERE} | dict(values)
        odd = [f"missing {name}" for name in known if name not in stored]
        odd += [f"unknown {_quoted(name)}" for name in values if name not in known]
        if odd:
            raise SettingsError(f"{group}: {', '.join(odd)}")
        return cls(**{name: known[name].from_plain(value) for name, value in stored.items()})


def values_by_name(values: Mapping[str, Any], *groups: type[Settings]) -> dict[str, Any]:
    """Values that a file or a program gives by name, each made that of its setting and checked.

    Args:
        values: by name; names may be written with dashes too.
        groups: whose settings they may be, internal ones left out.

    Raises:
        SettingsError: a name is unknown or given twice, or a value is out of range.
    """
    known = {name: each for group in groups for name, each in group.settings().items() if not each.is_internal}
    given: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise SettingsError(f"there is no setting {_quoted(key)}{did_you_mean(name, known)}")
        if name in given:
            raise SettingsError(f"{name} is given twice")
        given[name] = known[name].from_plain(value)
        known[name].check(given[name])
    return given


def did_you_mean(value: object, names: Iterable[str]) -> str:
    """A hint at the name that a user may have meant, to end a message with; "" where none is close.

    Capitals count as small letters.

    >>> did_you_mean("LSTN", ["rnn", "lstm", "gru"])
    '; did you mean lstm?'
    """
    import difflib

    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(value.casefold(), folded, n=1) if isinstance(value, str) else []
    return f"; did you mean {folded[close[0]]}?" if close else ""


def on_command_line(message: str) -> str:
    """A message that names settings between backquotes, as the command says it: with options.

    >>> on_command_line("`val_fraction` has no effect with `level=byte`")
    '--val-fraction has no effect with --level byte'
    """
    return _NAMED.sub(lambda match: f"{_option(match[1])} {match[2] or ''}".rstrip(), message)


def _option(name: str) -> str:
    return "--" + name.rstrip("_").replace("_", "-")  # with_: a word of Python's own


def _declared(cls: type[Settings]) -> dict[str, Setting]:
    hints = get_type_hints(cls)
    found = {}
    for each in fields(cls):  # type: ignore[arg-type]
        kind = hints[each.name]
        is_optional = get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)
        if is_optional:
            kind = next(part for part in get_args(kind) if part is not type(None))
        is_many = get_origin(kind) is tuple
        if is_many:
            kind = get_args(kind)[0]
        found[each.name] = Setting(each.name, kind, is_optional, is_many, each.default, **each.metadata[_KEY])
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - of a setting
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number larger than any float
        return False


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _quoted(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "..."
