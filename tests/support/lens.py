"""Groups of settings to test with."""

from dataclasses import dataclass
from pathlib import Path

from charrnn.fields import Settings, setting


@dataclass(frozen=True, kw_only=True)
class Lens(Settings):
    """One setting of each kind."""

    texts: tuple[str, ...] = setting((), help="Texts.", metavar="TEXT", is_argument=True)
    aperture: float = setting(2.8, help="Size of the opening.", above=0, high=64, short="-a")
    blades: int = setting(help="Blades.", low=3, high=9, shown_default="chosen to suit")
    mount: str = setting("screw", help="Mount.", choices=("screw", "bayonet"))
    is_coated: bool = setting(True, help="Coated.")
    is_heavy: bool = setting(False, help="Heavy.")
    marks: tuple[str, ...] = setting((), help="Marks; may be repeated.")
    case: Path | None = setting(None, help="Case.", metavar="BOX")
    serial: int = setting(1, help="Number.", low=0, is_internal=True)


@dataclass(frozen=True, kw_only=True)
class Film(Settings):
    """Another group."""

    speed: int | None = setting(None, help="Speed.", low=1)
