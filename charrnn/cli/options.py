"""Commands whose options are settings: from the one statement of a setting to its option, its help and its checks."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli.run_argument import run_names
from charrnn.errors import SettingsError
from charrnn.fields import Setting, Settings

_WORDS = {int: "whole number", float: "number", str: "text", Path: "path"}


def with_settings(*groups: type[Settings]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the settings of some groups as options, and as arguments those that go by position.

    The command is called with only those that the user gave, by their names, and with its own parameters.

    Args:
        groups: the settings, in the order in which the help lists them.
    """
    known = {name: each for group in groups for name, each in group.settings().items() if not each.is_internal}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(function).parameters.values() if p.kind != inspect.Parameter.VAR_KEYWORD]
        made = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_unset(each), annotation=_annotation(each))
            for name, each in known.items()
        ]
        arguments = [p for p in made if known[p.name].is_argument]
        options = [p for p in made if not known[p.name].is_argument]

        @functools.wraps(function)
        def command(**values: Any) -> None:  # noqa: ANN401 - options of every type
            given = {}
            for name, value in values.items():
                if name not in known:
                    given[name] = value
                elif value is not None and value is not False and value != []:
                    given[name] = _one_or_all(value, known[name]) if isinstance(value, list) else value
                elif value is False and known[name].default is True:
                    given[name] = False
            function(**given)

        keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        parameters = [*arguments, *keyword_only, *options]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        command.settings = known  # type: ignore[attr-defined]
        return command

    return decorate


def require_one_voice(settings: Any) -> None:  # noqa: ANN401 - any group that has both
    """Makes sure that a command is not told to say less and more.

    Raises:
        SettingsError: it is.
    """
    if settings.quiet and settings.verbose:
        raise SettingsError("`quiet` says less, `verbose` says more; leave one of them out")


def settings_of(command: Callable[..., None]) -> dict[str, Setting]:
    """The settings among a command's options and arguments, by name."""
    found: dict[str, Setting] = getattr(command, "settings", {})
    return found


def shown_value(setting: Setting) -> str:
    """What stands for the value in the help: an argument's name, the words to choose from, or a word for its kind."""
    if setting.is_argument:
        return setting.metavar
    return "|".join(setting.choices) or f"<{value_word(setting)}>"


def value_word(setting: Setting) -> str:
    """What a value is, in a word or two, such as "whole number" or "directory"."""
    return setting.metavar.lower().replace("_", " ") or _WORDS[setting.kind]


def shown_default(setting: Setting) -> str:
    """What the help says of the default; "" for nothing."""
    if setting.shown_default is not None:
        return setting.shown_default
    default = setting.default
    if default is None or default is dataclasses.MISSING or default == () or default is False:
        return ""
    if isinstance(default, bool):
        return setting.name.replace("_", "-")
    return f"{default:g}" if isinstance(default, float) else str(default)


def _unset(setting: Setting) -> Any:  # noqa: ANN401 - typer's idea of "not given"
    return False if setting.kind is bool and setting.default is False else None


def _one_or_all(values: list[Any], setting: Setting) -> Any:  # noqa: ANN401 - of the setting's type
    if setting.is_many:
        return tuple(values)
    if len(values) > 1:
        raise SettingsError(f"{setting.option} is given {len(values)} times, and takes one value; leave the others out")
    return values[0]


def _annotation(setting: Setting) -> Any:  # noqa: ANN401 - a type for typer
    common: dict[str, Any] = {"help": setting.help, "show_default": shown_default(setting) or False}
    if setting.kind is not bool:
        common["metavar"] = shown_value(setting)
        common["parser"] = setting.parse
        if setting.choices:
            common["autocompletion"] = lambda: list(setting.choices)
        if setting.names_run:
            common["autocompletion"] = run_names
    if setting.is_argument:
        return Annotated[list[str] | None, typer.Argument(**common)]
    names = [setting.option, *([setting.short] if setting.short else [])]
    if setting.panel:
        common["rich_help_panel"] = setting.panel
    if setting.kind is bool:
        if setting.default is not False:
            names[0] += "/--no-" + setting.option.removeprefix("--")
        return Annotated[bool | None if setting.default is not False else bool, typer.Option(*names, **common)]
    can_repeat = setting.is_many or setting.is_given_once
    return Annotated[list[str] | None if can_repeat else str | None, typer.Option(*names, **common)]
