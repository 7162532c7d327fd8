"""The shape of a model: what its weights are called and how large each is. Knows no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any, Literal, get_args

from charrnn.errors import SettingsError

Cell = Literal["rnn", "lstm", "gru"]
Input = Literal["one-hot", "embedding"]
Reset = Literal["after", "before"]

NUM_GATES: dict[str, int] = {"rnn": 1, "lstm": 4, "gru": 3}

_RANGES = {
    "vocab_size": (1, 0x110000),
    "num_layers": (1, 64),
    "hidden_size": (1, 65_536),
    "embedding_size": (1, 65_536),
}


@dataclass(frozen=True)
class ModelSettings:
    """Everything that fixes a model's function but its weights.

    Attributes:
        vocab_size: V, number of symbols.
        cell: "rnn" (tanh), "lstm" or "gru".
        num_layers: L, recurrent layers; each reads the outputs of the one below.
        hidden_size: H, units a layer.
        input: "one-hot" (layer 0 reads a column of its input weights) or "embedding" (a V x E table first).
        embedding_size: E; unused with one-hot input.
        dropout: share of each layer's outputs dropped in training, 0 <= dropout < 1.
        weight_dropout: share of each layer's recurrent weights dropped in training, drawn anew for every window,
            0 <= weight_dropout < 1 (Wan et al. 2013; Merity et al. 2018).
        bias: whether cells and output have biases.
        reset: where a GRU applies its reset gate: "after" the recurrent product (cuDNN, torch) or "before" it
            (Cho et al. 2014). Only "after" goes with the other cells.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    vocab_size: int
    cell: Cell = "lstm"
    num_layers: int = 1
    hidden_size: int = 256
    input: Input = "one-hot"
    embedding_size: int = 64
    dropout: float = 0.0
    weight_dropout: float = 0.0
    bias: bool = True
    reset: Reset = "after"

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise SettingsError(f"{name} is {value!r}; it must be a whole number from {low} to {high:,}")
        for name, choices in (("cell", Cell), ("input", Input), ("reset", Reset)):
            if getattr(self, name) not in get_args(choices):
                allowed = ", ".join(get_args(choices))
                raise SettingsError(f"{name} is {getattr(self, name)!r}; it must be one of {allowed}")
        for name in ("dropout", "weight_dropout"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value < 1:
                raise SettingsError(f"{name} is {value!r}; it must be at least 0 and below 1")
        if type(self.bias) is not bool:
            raise SettingsError(f"bias is {self.bias!r}; it must be true or false")
        if self.reset == "before" and self.cell != "gru":
            raise SettingsError(f"reset 'before' is a form of the GRU; it does not go with cell {self.cell!r}")

    @property
    def num_gates(self) -> int:
        """G: blocks of H rows in a layer's weights."""
        return NUM_GATES[self.cell]

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

    @property
    def num_parameters(self) -> int:
        """Count of all weights."""
        return sum(prod(shape) for shape in self.parameter_shapes().values())

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, for ``from_json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ModelSettings":
        """Settings from plain values, every key required, none unknown.

        Raises:
            SettingsError: a key is missing or unknown, or a value is out of range.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            missing, unknown = sorted(names - set(values)), sorted(set(values) - names)
            raise SettingsError(f"model settings: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}")
        return cls(**values)
