"""Commands of typer's with charrnn's own words: their help, and what is wrong with a line that cannot be parsed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from charrnn.cli.help import help_page, title, usage
from charrnn.errors import SettingsError
from charrnn.fields import did_you_mean

# What typer raises where a line cannot be parsed; it shows the class by that of one kind of it alone.
_UsageError: Any = typer.BadParameter.__base__


class Command(TyperCommand):
    """A command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's
        """Takes the arguments apart.

        Raises:
            SettingsError: they do not fit the command.
        """
        ctx.allow_extra_args = True
        with _in_words(ctx):
            left_over = super().parse_args(ctx, args)
        if left_over and not ctx.resilient_parsing:
            raise SettingsError(
                f"{left_over[0]!r} is one argument too many; put a text of several words between quotes "
                f"(usage: {usage(ctx)})"
            )
        return left_over

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's
        """Gives the help."""
        _format_help(ctx, formatter)


class Group(TyperGroup):
    """A command that has commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's
        """Takes the arguments before the command's name apart.

        Raises:
            SettingsError: they do not fit.
        """
        with _in_words(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer's
        """Finds the command that is named.

        Raises:
            SettingsError: there is none of that name.
        """
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            hint = did_you_mean(args[0], self.commands)
            raise SettingsError(f"there is no command {args[0]!r}{hint or f'; {title(ctx)} --help lists them'}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's
        """Gives the help."""
        _format_help(ctx, formatter)


def _format_help(context: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's
    formatter.write(help_page(context))


@contextmanager
def _in_words(context: Any) -> Iterator[None]:  # noqa: ANN401 - typer's
    try:
        yield
    except _UsageError as error:
        raise SettingsError(_reason(error, context)) from error


def _reason(error: Any, context: Any) -> str:  # noqa: ANN401 - typer's
    parameters = context.command.get_params(context)
    name = getattr(error, "option_name", None)
    if name is not None:
        known = {spelling: each for each in parameters for spelling in (*each.opts, *each.secondary_opts)}
        option = known.get(name)
        if option is None:
            options = [spelling for spelling in known if spelling.startswith("-")]
            return f"there is no option {name}{did_you_mean(name, options) or f'; {title(context)} --help lists them'}"
        return f"{name} takes no value" if option.is_flag else f"{name} needs a value: {name} {option.metavar}"
    missing = getattr(error, "param", None)
    if missing is not None and missing.param_type_name == "argument":
        return f"{missing.metavar} is missing (usage: {usage(context)})"
    return str(error.format_message())
