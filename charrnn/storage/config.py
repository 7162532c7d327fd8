"""Files of settings: what a run leaves of its own, and what ``--config`` takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from charrnn.errors import InputError, SettingsError
from charrnn.fields import Settings, values_by_name


def read_config(path: Path, *groups: type[Settings]) -> dict[str, Any]:
    """Settings from a TOML file of names and values, each checked.

    Args:
        path: of the file.
        groups: whose settings it may hold; names may be written with dashes too.

    Raises:
        InputError: the file cannot be read, or is not TOML.
        SettingsError: a name is unknown, or a value is out of range.
    """
    values = plain_config(path)
    try:
        return values_by_name(values, *groups)
    except SettingsError as error:
        raise SettingsError(f"{str(path)!r}: {error}") from error


def read_part_of_config(path: Path, group: type[Settings]) -> dict[str, Any]:
    """Settings of one group from a run's own file, each checked; others are passed over.

    Raises:
        InputError: the file cannot be read, or is not TOML.
        SettingsError: a value is out of range.
    """
    return values_by_name(group.part_of(plain_config(path)), group)


def write_config(settings: Mapping[str, Any]) -> bytes:
    """A TOML file of settings, for ``read_config``; what is None is left out."""
    import tomli_w

    from charrnn.storage.container import plain

    given = {name: value for name, value in settings.items() if value is not None}
    return tomli_w.dumps(plain({k: str(v) if isinstance(v, Path) else v for k, v in given.items()})).encode()


def plain_config(path: Path) -> dict[str, Any]:
    """Settings from a TOML file as it has them, unchecked.

    Raises:
        InputError: the file cannot be read, or is not TOML.
    """
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8-sig"))  # editors on Windows begin files with a mark
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is not a TOML file of settings: {error}") from error
