"""The shape of a model, and how symbols are drawn from it. Knows neither torch nor numpy."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from charrnn.fields import Settings, setting
from charrnn.models.cells import CELLS, Cell, State

_PANEL = "Model"
CHOSEN = "chosen to suit text, time and device"
_MAX_SYMBOLS = 0x110000  # of Unicode
_TABLE_FLOATS = 1 << 23  # of a table that is kept whatever its weights take: 32 MiB


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """Everything that fixes a model's function, except its weights.

    Attributes:
        vocab_size: V, number of symbols.
        cell: a name in ``cells.CELLS``.
        num_layers: L, recurrent layers; each reads the outputs of the one below.
        hidden_size: H, units per layer.
        input: "one-hot" (layer 0 reads a column of its input weights) or "embedding" (a V x E table first).
        embedding_size: E; unused with one-hot input.
        bias: whether cells and output have biases.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    form: ClassVar[str] = "network"

    vocab_size: int = setting(help="Number of symbols.", low=1, high=_MAX_SYMBOLS, is_internal=True)
    cell: str = setting("lstm", help="Recurrent cell.", choices=CELLS, panel=_PANEL)
    num_layers: int = setting(1, help="Recurrent layers.", low=1, high=64, panel=_PANEL, short="-l")
    hidden_size: int = setting(
        256, help="Units per layer.", low=1, high=65_536, panel=_PANEL, short="-s", shown_default=CHOSEN
    )
    input: str = setting(
        "one-hot",
        help="How a symbol enters: as a column of the input weights, or as a learned vector before them.",
        choices=("one-hot", "embedding"),
        panel=_PANEL,
        shown_default="one-hot up to 512 symbols",
    )
    embedding_size: int = setting(
        64,
        help="Size of the learned vectors, where the input is embedding.",
        low=1,
        high=65_536,
        panel=_PANEL,
        shown_default=CHOSEN,
    )
    bias: bool = setting(True, help="Whether cells and output have biases.", panel=_PANEL)

    @property
    def recurrent_cell(self) -> Cell:
        """The cell's entry in the table."""
        return CELLS[self.cell]

    @property
    def num_gates(self) -> int:
        """G: blocks of H rows in a layer's weights."""
        return self.recurrent_cell.num_gates

    @property
    def num_parameters(self) -> int:
        """Count of all weights."""
        return sum(prod(shape) for shape in self.parameter_shapes().values())

    @property
    def short_title(self) -> str:
        """The cell and its sizes: layers x units.

        >>> ModelSettings(vocab_size=65, num_layers=2).short_title
        'LSTM 2x256'
        """
        return f"{self.recurrent_cell.title} {self.num_layers}x{self.hidden_size}"

    @property
    def title(self) -> str:
        """The model's shape in a few words.

        >>> ModelSettings(vocab_size=65).title
        'LSTM 1x256, one-hot input'
        """
        size = f" of {self.embedding_size}" if self.input == "embedding" else " input"
        bias = "" if self.bias else ", no bias"
        return f"{self.short_title}, {self.input}{size}{bias}"

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of each array that is stored, by name."""
        return {name: ("float32", shape) for name, shape in self.parameter_shapes().items()}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all weights, in storage order; names and gate order are torch's.

        >>> ModelSettings(vocab_size=7, cell="rnn", hidden_size=4, bias=False).parameter_shapes()
        {'layers.0.weight_ih': (4, 7), 'layers.0.weight_hh': (4, 4), 'output.weight': (7, 4)}
        """
        rows = self.num_gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        width = self.vocab_size
        if self.input == "embedding":
            shapes["embedding.weight"] = (self.vocab_size, self.embedding_size)
            width = self.embedding_size
        for layer in range(self.num_layers):
            shapes[f"layers.{layer}.weight_ih"] = (rows, width)
            shapes[f"layers.{layer}.weight_hh"] = (rows, self.hidden_size)
            if self.bias:
                shapes[f"layers.{layer}.bias_ih"] = (rows,)
                shapes[f"layers.{layer}.bias_hh"] = (rows,)
            width = self.hidden_size
        shapes["output.weight"] = (self.vocab_size, self.hidden_size)
        if self.bias:
            shapes["output.bias"] = (self.vocab_size,)
        return shapes

    def state_shapes(self, num_streams: int) -> dict[str, tuple[int, int, int]]:
        """The shape (L, B, H) of each of the cell's states, by name."""
        shape = (self.num_layers, num_streams, self.hidden_size)
        return dict.fromkeys(self.recurrent_cell.states, shape)

    @property
    def folds_input(self) -> bool:
        """Whether a network at work keeps a row of gates for each symbol, so that its input needs no product.

        One-hot input always does. An embedding does unless its table (V, G*H) would take much more memory than the
        weights it is made of.
        """
        rows = self.num_gates * self.hidden_size
        weights = self.vocab_size * self.embedding_size + rows * self.embedding_size
        return self.input == "one-hot" or self.vocab_size * rows <= max(weights, _TABLE_FLOATS)

    def zero_state(self, num_streams: int, zeros: Callable[[tuple[int, ...]], Any]) -> State:
        """The state at the start of a text.

        Args:
            num_streams: B.
            zeros: makes an array of zeros of a shape.
        """
        return State(zeros(shape) for shape in self.state_shapes(num_streams).values())


@dataclass(frozen=True)
class DynamicSettings(Settings):
    """How a network learns while it reads.

    Attributes:
        segment: symbols between two steps.
        learning_rate: of a step down the clipped gradient.
        decay: share of the way back to the trained weights after each step.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    segment: int = setting(16, help="Symbols between two steps of learning.", low=1, high=1 << 20)
    learning_rate: float = setting(0.3, help="Size of a step down the clipped gradient.", low=0, high=100)
    decay: float = setting(0.002, help="Share of the way back to the trained weights after each step.", low=0, high=1)


@dataclass(frozen=True)
class SamplingSettings(Settings):
    """Which symbols may be drawn, and how often; each part narrows what the parts before it left.

    The C kernels' structure ``Sampling`` has the same fields in the same order.

    Attributes:
        temperature: logits are divided by it; 1 is the model as trained, 0 takes the most probable symbol.
        top_k: only the k most probable symbols, and all that tie with the k-th; 0 is off.
        top_p: only the fewest most probable symbols whose probabilities reach p; of symbols that tie, lower ids count
            as more probable. 1 is off.
        min_p: only symbols at least this share as probable as the most probable one; 0 is off.

    Source: top-k Fan et al. 2018; top-p Holtzman et al. 2020; min-p Nguyen et al. 2024.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    temperature: float = setting(
        1.0,
        help="Below 1: safer; above: wilder; 0: always the most probable symbol.",
        low=0,
        high=100,
        short="-t",
        panel="Choice of the next symbol",
    )
    top_k: int = setting(
        0,
        help="Draw from the K most probable symbols only; 0: off.",
        low=0,
        high=_MAX_SYMBOLS,
        panel="Choice of the next symbol",
    )
    top_p: float = setting(
        1.0,
        help="Draw from the fewest symbols that together reach this probability; 1: off.",
        above=0,
        high=1,
        panel="Choice of the next symbol",
    )
    min_p: float = setting(
        0.0,
        help="Draw only from symbols that have at least this share of the largest probability; 0: off.",
        low=0,
        high=1,
        panel="Choice of the next symbol",
    )
