"""The size of a model of counts. Knows no numpy."""

from dataclasses import dataclass

from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting

_PANEL = "Counts"
LINE_BYTES = 128
LINE_SLOTS = 16
MAX_SYMBOLS = 1 << 16
_SLOTS_PER_SYMBOL = 24
_MIN_LINES = 1 << 8


@dataclass(frozen=True, kw_only=True)
class CountsSettings(Settings):
    """Everything that fixes the sizes of a model of counts.

    Its memory in bytes is 128 lines + 2 text + 8 places, and some 40 MB that do not depend on the text.

    Attributes:
        vocab_size: V, number of symbols.
        num_lines: lines of 16 slots, a power of two.
        num_text: symbols it has learned from.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    vocab_size: int = setting(help="Number of symbols.", low=1, high=MAX_SYMBOLS, is_internal=True)
    num_lines: int = setting(help="Lines of sixteen slots.", low=1, high=1 << 32, is_internal=True)
    num_text: int = setting(help="Symbols it learned from.", low=1, high=(1 << 32) - 2, is_internal=True)

    def check_together(self) -> None:
        """Makes sure that lines can be addressed.

        Raises:
            SettingsError: they cannot.
        """
        if self.num_lines & (self.num_lines - 1):
            raise SettingsError(f"num_lines is {self.num_lines}; it must be a power of two")

    @property
    def title(self) -> str:
        """The model in a few words.

        >>> CountsSettings(vocab_size=65, num_lines=1 << 20, num_text=1_000_000).title
        'counts of 1,000,000 symbols in 128 MiB'
        """
        size = self.num_lines * LINE_BYTES
        shown = f"{size >> 20:,} MiB" if size >= 1 << 20 else f"{size >> 10:,} KiB"
        return f"counts of {self.num_text:,} symbols in {shown}"


def num_lines_for(num_symbols: int, *, most_bytes: int) -> int:
    """Lines for a text: room for all it may need, unless that is more than may be had.

    Args:
        num_symbols: length of the text.
        most_bytes: the memory that the lines may take.

    >>> num_lines_for(1_000_000, most_bytes=1 << 40), num_lines_for(1_000_000, most_bytes=100 << 20)
    (2097152, 524288)
    """
    wanted = 1 << max(_MIN_LINES, num_symbols * _SLOTS_PER_SYMBOL // LINE_SLOTS - 1).bit_length()
    largest = 1 << max(1, most_bytes // LINE_BYTES).bit_length() - 1
    return min(wanted, largest)
