"""The ``charrnn`` command: its subcommands, and the one place where an error becomes a message and an exit code."""

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Annotated, NoReturn

import typer

from charrnn.cli.corpus import corpus
from charrnn.cli.count import count
from charrnn.cli.explain import explain
from charrnn.cli.export import export
from charrnn.cli.inspect import inspect
from charrnn.cli.mix import mix
from charrnn.cli.parser import Command, Group
from charrnn.cli.perplexity import perplexity
from charrnn.cli.report import report
from charrnn.cli.runs import runs
from charrnn.cli.sample import sample
from charrnn.cli.signals import Stopped, StopRequest, stop_on_signals
from charrnn.cli.train import train
from charrnn.cli.verify import verify
from charrnn.errors import CharRNNError, ExitCode
from charrnn.fields import on_command_line
from charrnn.reports.terminal import prepare_standard_streams, raise_for_stdout, say

# Torch reports what it cannot have for the CPU as a plain RuntimeError.
_TORCH_OUT_OF_MEMORY = "DefaultCPUAllocator"
_NAME = "charrnn"
_COMPLETION = "_CHARRNN_COMPLETE"  # set by the shell that asks what could stand at the cursor

COMMANDS = (train, count, mix, sample, perplexity, explain, runs, report, inspect, export, verify, corpus)

app = typer.Typer(
    name=_NAME,
    cls=Group,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"charrnn {version('charrnn')}")
        raise typer.Exit


@app.callback()
def charrnn(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with any error.")] = False,
) -> None:
    """Character-level language models: train one on a text file, write new text, score a text.

    \b
    Examples:
      charrnn corpus english
      charrnn train corpora/english.txt --minutes 5
      charrnn sample english --length 600
      charrnn perplexity english other.txt
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.USAGE)


for command in COMMANDS:
    app.command(cls=Command)(command)


def main() -> None:
    """Runs the command line; ends the process with an ``ExitCode``."""
    prepare_standard_streams()
    # numpy's word of an overflow names lines of code; whether a result is finite is looked at where it is made.
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    if _COMPLETION in os.environ:
        # The shell waits between two keys. Rich would take longer to load than all the rest, and eat what helps say in
        # brackets; with None here, typer takes it for not installed.
        sys.modules["rich"] = None  # type: ignore[assignment]
    debug = "--debug" in sys.argv[1:] or bool(os.environ.get("CHARRNN_DEBUG"))
    try:
        with stop_on_signals() as request:
            _run(request)
    except Stopped as stopped:
        _end(stopped.exit_code)
    except CharRNNError as error:
        if debug:
            raise
        say(f"charrnn: {on_command_line(str(error))}")
        sys.exit(error.exit_code)
    except Exception as error:  # the last resort: one line for the user, the rest on request
        stop = _stop_within(error)
        if stop is not None:
            _end(stop.exit_code)
        if debug:
            raise
        if isinstance(error, MemoryError) or _TORCH_OUT_OF_MEMORY in str(error):
            say("charrnn: out of memory; use smaller sizes or a smaller text")
            sys.exit(ExitCode.DEVICE)
        say(f"charrnn: unexpected {type(error).__name__}: {error}; run with --debug for a traceback")
        sys.exit(ExitCode.INTERNAL)


def _stop_within(error: BaseException | None) -> Stopped | None:
    """The stop that an error came of: what runs while a class is made wraps whatever is raised there."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__cause__ or error.__context__
    return error


@cache
def _command() -> Callable[..., None]:
    return typer.main.get_command(app)


def _run(request: StopRequest) -> None:
    try:
        _command()(prog_name=_NAME, obj=request)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer ends so where the help meets a closed pipe
            raise_for_stdout(end.__context__)
        raise
    except OSError as error:  # what reads and writes files reports its own errors: this one is of standard output
        raise_for_stdout(error)


def _end(code: ExitCode) -> NoReturn:
    """Ends the process without waiting for threads that still compute, and whose memory the interpreter would free."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)
