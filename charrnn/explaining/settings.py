"""How a reading is explained. Knows neither torch nor numpy."""

from dataclasses import dataclass

from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting
from charrnn.machine import MAX_THREADS

_READING, _MACHINE = "Reading", "Machine"


@dataclass(frozen=True, kw_only=True)
class ExplainSettings(Settings):
    """What is read, and what is looked at.

    Attributes:
        with_: models that read the same text, to be shown beside.
        length: characters of the text that are read; None for the default of where they are shown.
        unit: units to paint beside those that are found.
        reach: steps back that gradients are followed; 0 for not at all.
        encoding: of the text.
        threads: CPU threads.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    with_: tuple[str, ...] = setting(
        (),
        help="Show this model beside, such as counts of the same text; may be repeated.",
        metavar="RUN_OR_FILE",
        names_run=True,
        panel=_READING,
    )
    length: int | None = setting(
        None,
        help="Read the first N characters of the text.",
        low=2,
        high=4_000_000,
        short="-n",
        shown_default="20,000 in the terminal, which shows 1,200 of them; 1,200,000 on a page",
        panel=_READING,
    )
    unit: tuple[str, ...] = setting(
        (),
        help="Paint this unit too, named by layer, part and number as in 1.cell.17; parts are hidden, cell and the "
        "gates (input, forget, candidate, output; reset, update, candidate). May be repeated.",
        metavar="NAME",
        panel=_READING,
    )
    reach: int = setting(
        100, help="Steps back that gradients are followed; 0: not at all.", low=0, high=1000, panel=_READING
    )
    encoding: str = setting("utf-8", help="Encoding of the text.", metavar="NAME", panel=_READING)
    threads: int | None = setting(
        None, help="CPU threads.", low=1, high=MAX_THREADS, shown_default="all cores", panel=_MACHINE
    )

    def check_together(self) -> None:
        """Makes sure that no model is named twice.

        Raises:
            SettingsError: one is.
        """
        if len(set(self.with_)) != len(self.with_):
            raise SettingsError("`with_` names a model twice; name each once")
