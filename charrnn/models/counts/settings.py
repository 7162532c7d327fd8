"""The size of a model of counts. Knows no numpy."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting

NUM_CONTEXTS = 16
NUM_MATCHES = 2
NUM_INPUTS = 40
ORDERS = (0, 1, 2, 3, 4, 5, 6, 8, 12, 18)
NUM_ORDERS = len(ORDERS)
LEVELS = 16
BINS = 25
ODDS = 33
LENGTHS = 32
DEPTHS = 16
FIRST_BITS = 14
SECOND_BITS = 16
MIN_LENGTHS = (6, 16)
MIXERS = ("by_node", "by_match", "by_order", "by_last")
RECENT = 1024
LINE_BYTES = 128
LINE_SLOTS = 16
MAX_SYMBOLS = 1 << 16
DEFAULT_MEMORY = 512
"""Most MiB of a table of counts, where nothing else is said."""
_SLOTS_PER_SYMBOL = 24
_MIN_LINES = 1 << 8


def weight_shapes(vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what is learned beside the slots, in the order of ``CountWeights`` in counts.c."""
    nodes = max(1, vocab_size - 1)
    return {
        "ever": (NUM_CONTEXTS, LEVELS, BINS),
        "lately": (NUM_CONTEXTS, LEVELS, BINS),
        "ever_seen": (NUM_CONTEXTS, LEVELS, BINS),
        "match": (NUM_MATCHES, LENGTHS),
        "match_seen": (NUM_MATCHES, LENGTHS),
        "by_node": (nodes, NUM_INPUTS),
        "by_match": (LENGTHS * 3, NUM_INPUTS),
        "by_order": (NUM_ORDERS * DEPTHS, NUM_INPUTS),
        "by_last": (vocab_size + 1, NUM_INPUTS),
        "final": (nodes, len(MIXERS)),
        "first": (1 << FIRST_BITS, ODDS),
        "second": (1 << SECOND_BITS, ODDS),
        "decisions": (1,),
    }


@dataclass(frozen=True, kw_only=True)
class CountsSettings(Settings):
    """Everything that fixes the sizes of a model of counts.

    Its memory in bytes is 128 lines + 2 text + 8 places + 688 V + 22 million, whatever the text.

    Attributes:
        vocab_size: V, number of symbols.
        num_lines: lines of 16 slots, a power of two.
        num_text: symbols it has learned from.
        num_mixers: those of ``MIXERS`` that it has; the first models had all but the last.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    form: ClassVar[str] = "counts"

    vocab_size: int = setting(help="Number of symbols.", low=1, high=MAX_SYMBOLS, is_internal=True)
    num_lines: int = setting(help="Lines of sixteen slots.", low=1, high=1 << 32, is_internal=True)
    num_text: int = setting(help="Symbols it learned from.", low=1, high=(1 << 32) - 2, is_internal=True)
    num_mixers: int = setting(default=len(MIXERS), before=3, help="Mixers.", low=3, high=len(MIXERS), is_internal=True)

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

    @property
    def short_title(self) -> str:
        """The model in a word or two."""
        return "counts"

    @property
    def num_parameters(self) -> int:
        """Numbers that are learned: three per slot, and the weights."""
        weights = sum(prod(shape) for _, shape in self.tensors().values()) - self.num_lines * LINE_BYTES // 8
        return 3 * LINE_SLOTS * self.num_lines + weights

    @property
    def num_places(self) -> int:
        """Where matches are looked up, a power of two."""
        return 1 << max(10, self.num_text.bit_length())

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of each array that is stored, by name; smaller types lie side by side in int64."""
        found: dict[str, tuple[str, tuple[int, ...]]] = {
            "lines": ("int64", (self.num_lines, LINE_BYTES // 8)),
            "text": ("int64", ((2 * self.num_text + 7) // 8,)),
            "places": ("int64", (NUM_MATCHES, self.num_places // 2)),
            "cuts": ("int64", (self.vocab_size - 1,)),
            "classes": ("int64", (self.vocab_size,)),
        }
        for kind in ("fixed", "growing"):
            found |= {f"{kind}.{name}": ("float32", shape) for name, shape in weight_shapes(self.vocab_size).items()}
            for lacking in MIXERS[self.num_mixers :]:
                del found[f"{kind}.{lacking}"]
        return found


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
