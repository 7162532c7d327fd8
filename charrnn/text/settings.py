"""Which text is learned and how it is read."""

from dataclasses import dataclass, replace
from pathlib import Path

from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting

_PANEL = "Text"
DEFAULT_VAL_FRACTION = 0.1
DOWNLOAD_SECONDS = 180  # after which the download of a corpus is given up
_DEFAULT_ENCODING = "utf-8"


@dataclass(frozen=True, kw_only=True)
class TextSettings(Settings):
    """The texts of a run.

    Attributes:
        texts: files, directories or "-" for standard input, read one after the other in this order.
        level: what a symbol is, "char" or "byte".
        encoding: of the files, at level "char".
        val: separate held-out texts; where there are none, the end of ``texts`` is held out.
        val_fraction: share held out at the end; None where ``val`` is given.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    texts: tuple[str, ...] = setting(
        (),
        help="Text files, directories (their files in sorted order) or - for standard input, read one after the other "
        "in the order given.",
        metavar="TEXT",
        is_argument=True,
        changes_on_resume=True,
    )
    level: str = setting("char", help="What a symbol is.", choices=("char", "byte"), panel=_PANEL)
    encoding: str = setting(_DEFAULT_ENCODING, help="Encoding of the texts.", metavar="NAME", panel=_PANEL)
    val: tuple[str, ...] = setting(
        (),
        help="A separate held-out text; may be repeated.",
        metavar="FILE",
        panel=_PANEL,
        changes_on_resume=True,
    )
    val_fraction: float | None = setting(
        None,
        help="Share of the text, at its end, held out for evaluation.",
        above=0,
        below=1,
        panel=_PANEL,
        shown_default=f"{DEFAULT_VAL_FRACTION}",
    )

    def check_together(self) -> None:
        """Makes sure that what is held out is said once.

        Raises:
            SettingsError: it is said twice, by a text and by a share; or standard input is both learned and held out.
        """
        if self.val and self.val_fraction is not None:
            raise SettingsError(
                "`val` already says what is held out, so `val_fraction` has no effect; leave one of them out"
            )
        if self.level == "byte" and self.encoding != _DEFAULT_ENCODING:
            raise SettingsError("`encoding` goes with `level=char`: bytes are taken as they are; leave one of them out")
        if _is_stdin(self.texts) and _is_stdin(self.val):
            raise SettingsError(
                "standard input is named both to learn from and with `val`; name a file for one of them"
            )

    @property
    def held_out_fraction(self) -> float:
        """The share held out at the end of ``texts``, where ``val`` names no text."""
        return DEFAULT_VAL_FRACTION if self.val_fraction is None else self.val_fraction

    @property
    def reads_stdin(self) -> bool:
        """Whether standard input is among the texts."""
        return _is_stdin(self.texts) or _is_stdin(self.val)

    def resolved(self) -> "TextSettings":
        """The same with nothing left open: absolute paths, so that another working directory finds the same texts."""
        fraction = None if self.val else self.held_out_fraction
        return replace(self, texts=_absolute(self.texts), val=_absolute(self.val), val_fraction=fraction)


def is_stdin(name: str) -> bool:
    """Whether a text's name means standard input."""
    return name in ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def _is_stdin(names: tuple[str, ...]) -> bool:
    return any(map(is_stdin, names))


def _absolute(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("-" if is_stdin(name) else str(Path(name).resolve()) for name in names)
