"""What a user can do wrong or meet, and the exit code that each kind ends with."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the ``charrnn`` command; each has one meaning, listed in docs/guide.md."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    INPUT = 3
    OUTPUT = 4
    DIVERGED = 5
    DEVICE = 6
    LOCKED = 7
    HANGUP = 129
    INTERRUPT = 130
    BROKEN_PIPE = 141
    TERMINATE = 143


class CharRNNError(Exception):
    """A mistake or mishap a user can act on: the message says what is wrong and what to do.

    A setting that it names stands between backquotes: `hidden_size`, `level=byte`. The command shows the option
    instead: --hidden-size, --level byte.
    """

    exit_code = ExitCode.INTERNAL


class SettingsError(CharRNNError):
    """An option or setting with a value that cannot be used."""

    exit_code = ExitCode.USAGE


class InputError(CharRNNError):
    """A text or model that cannot be read or is not what it should be."""

    exit_code = ExitCode.INPUT


class NonFiniteError(InputError):
    """A model whose probabilities are not finite: it can neither write nor score a text."""

    def __init__(self) -> None:
        super().__init__("the model's probabilities are not finite: it can neither write nor score a text; train again")


class OutputError(CharRNNError):
    """A result that cannot be written."""

    exit_code = ExitCode.OUTPUT


class DivergedError(CharRNNError):
    """Training that no longer yields finite losses or gradients."""

    exit_code = ExitCode.DIVERGED


class DeviceError(CharRNNError):
    """A device that is missing, lost or out of memory."""

    exit_code = ExitCode.DEVICE


class LockedError(CharRNNError):
    """A run directory that another process is using."""

    exit_code = ExitCode.LOCKED
