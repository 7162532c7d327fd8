"""How a text is counted. Knows no numpy."""

from dataclasses import dataclass
from pathlib import Path

from charrnn.fields import Settings, setting
from charrnn.storage.run_files import DEFAULT_RUNS


@dataclass(frozen=True, kw_only=True)
class CountingSettings(Settings):
    """How a text is counted, and where the run goes.

    Attributes:
        memory: most MiB that the table of counts may take.
        name: of the run; None for that of the first text with "-counts" after it.
        out: directory that holds runs; None for that of ``charrnn.storage.run_name.runs_directory``.
    """

    memory: int = setting(
        512,
        help="Most MiB that the table of counts may take; a text of a million characters needs 256 to lose none.",
        low=1,
        high=1 << 16,
        panel="Counts",
    )
    name: str | None = setting(
        None, help="Name of the run.", metavar="NAME", panel="Output", shown_default="the first text's name, -counts"
    )
    out: Path | None = setting(
        None,
        help="Directory that holds runs.",
        metavar="DIRECTORY",
        panel="Output",
        short="-o",
        shown_default=DEFAULT_RUNS,
    )
