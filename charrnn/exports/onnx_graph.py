"""A network as an ONNX graph of one step: a symbol and a state in, probabilities and a state out.

The graph is made by the equations of ``models.cells`` themselves: they run on anything that has the operators of an
array, here on ``_Value``, which adds a node to the graph for each. So every cell of the table can be exported, and no
equation is stated twice. torch.onnx would do less: it needs torch and onnxscript, its graph changes with their
versions, and a cell that torch has no operator for would still have to be written out.

Legend: B streams, H hidden units, G gates, L layers, V symbols.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import OutputError, SettingsError
from charrnn.inference.generation import start_text
from charrnn.models.cells import input_table
from charrnn.models.settings import ModelSettings
from charrnn.models.shape import shape_to_json
from charrnn.storage.model_file import ModelFile, require_network

OPSET = 17
"""Version of ONNX's operators: runtimes of 2022 and later know it (onnxruntime 1.12)."""

_IR_VERSION = 8  # of the file itself, of the same time
_MAX_BYTES = 2_000_000_000  # protobuf, in which ONNX is written, ends at 2 GiB
_STREAMS = "streams"  # the name of B, which the graph leaves open


def onnx_bytes(model: ModelFile, *, version: str) -> bytes:
    """The graph in a file's bytes.

    Inputs are ``ids`` (B,) int64 and each of the cell's states, (L, B, H) float32, zeros at the start of a text.
    Outputs are ``logits`` and ``probabilities`` (B, V) of the next symbol, and the states after, ``next_...``. The
    metadata hold the vocabulary, the settings and the text that stands before one without a beginning.

    Args:
        model: as it is stored.
        version: of charrnn, for the metadata.

    Raises:
        InputError: it is not a network.
        SettingsError: the package onnx is missing.
        OutputError: it is too large for the format.
    """
    settings = require_network(model, use="an ONNX graph")
    num_bytes = sum(weight.nbytes for weight in model.weights.values())
    if num_bytes > _MAX_BYTES:
        raise OutputError(f"the weights have {num_bytes:,} bytes; one ONNX file holds at most {_MAX_BYTES:,}")
    try:
        import onnx
    except ImportError:
        raise SettingsError("`onnx` needs the package onnx, which is not installed: pip install onnx") from None

    graph = _Graph()
    inputs, outputs = _step(graph, settings, model.weights)
    made = onnx.helper.make_graph(
        graph.nodes,
        "step",
        [_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        graph.constants,
        doc_string="One step of a character-level language model: logits and probabilities of the symbol after ids.",
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    proto = onnx.helper.make_model(
        made, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="charrnn", producer_version=version
    )
    onnx.helper.set_model_props(
        proto,
        {
            "vocab": json.dumps(model.vocab.to_json()),
            "settings": json.dumps(shape_to_json(settings)),
            "start_text": start_text(model.vocab),
            "title": settings.title,
        },
    )
    onnx.checker.check_model(proto, full_check=True)
    return cast("bytes", proto.SerializeToString())


def _info(name: str, kind: str, shape: tuple[int | str, ...]) -> Any:  # noqa: ANN401 - onnx has no types
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)


class _Graph:
    """Nodes and constants as they come.

    Attributes:
        nodes: in the order in which they compute.
        constants: arrays that nodes use.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names: dict[tuple[Any, ...], str] = {}

    def constant(self, array: Any, *, name: str = "") -> str:  # noqa: ANN401 - whatever numpy makes an array of
        """The name of a constant; small ones that are equal are one."""
        import onnx

        found = np.asarray(array, order="C")
        key = (found.dtype.str, found.shape, found.tobytes()) if found.size <= 1 else (len(self.constants),)
        if key not in self._names:
            self._names[key] = name or f"constant_{len(self.constants)}"
            self.constants.append(onnx.numpy_helper.from_array(found, self._names[key]))
        return self._names[key]

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """The name of what a new node computes."""
        import onnx

        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [name], name=f"node_{name}", **attributes))
        return name


class _Value:
    """An array (B, size) that the graph computes; arrays beside it are constants."""

    __array_ufunc__ = None  # numpy leaves ``array @ value`` and the like to this class

    def __init__(self, graph: _Graph, name: str, size: int) -> None:
        self.graph = graph
        self.name = name
        self.shape = (_STREAMS, size)

    def __add__(self, other: Any) -> "_Value":  # noqa: ANN401 - a number, an array or another value
        return self if np.isscalar(other) and other == 0 else self._with("Add", other)

    def __mul__(self, other: Any) -> "_Value":  # noqa: ANN401
        return self._with("Mul", other)

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other: Any) -> "_Value":  # noqa: ANN401
        return self._with("Sub", other)

    def __rsub__(self, other: Any) -> "_Value":  # noqa: ANN401
        name = self.graph.add("Sub", self._name_of(other), self.name)
        return _Value(self.graph, name, self.shape[1])

    def __matmul__(self, weight: NDArray[Any]) -> "_Value":
        return _Value(self.graph, self.graph.add("MatMul", self.name, self._name_of(weight)), weight.shape[1])

    def __getitem__(self, index: tuple[Any, slice]) -> "_Value":
        """Some of the last axis: ``value[..., begin:end]``."""
        begin, end, _ = index[1].indices(self.shape[1])
        bounds = (self.graph.constant(np.array([bound], np.int64)) for bound in (begin, end, -1))
        return _Value(self.graph, self.graph.add("Slice", self.name, *bounds), end - begin)

    def _with(self, operator: str, other: Any) -> "_Value":  # noqa: ANN401
        return _Value(self.graph, self.graph.add(operator, self.name, self._name_of(other)), self.shape[1])

    def _name_of(self, other: Any) -> str:  # noqa: ANN401
        return other.name if isinstance(other, _Value) else self.graph.constant(np.asarray(other, np.float32))


def _tanh(value: _Value) -> _Value:
    return _Value(value.graph, value.graph.add("Tanh", value.name), value.shape[1])


_Shapes = dict[str, tuple[str, tuple[int | str, ...]]]


def _step(graph: _Graph, settings: ModelSettings, weights: Mapping[str, NDArray[Any]]) -> tuple[_Shapes, _Shapes]:
    """Adds a step of the network to a graph; gives type and shape of its inputs and outputs, by name."""
    first = weights["layers.0.weight_ih"], weights.get("layers.0.bias_ih")
    embedding = weights.get("embedding.weight")
    rows = input_table(*first, embedding) if settings.folds_input or embedding is None else embedding
    x = _Value(graph, graph.add("Gather", graph.constant(rows, name="rows"), "ids", axis=0), rows.shape[1])
    if not settings.folds_input:
        x = input_table(first[0], first[1], x)
    after: dict[str, list[str]] = {name: [] for name in settings.recurrent_cell.states}
    axis = graph.constant(np.array([0], np.int64))
    for layer in range(settings.num_layers):
        if layer:
            x = x @ weights[f"layers.{layer}.weight_ih"].T + weights.get(f"layers.{layer}.bias_ih", 0.0)
        index = graph.constant(np.array(layer, np.int64))
        before = tuple(_Value(graph, graph.add("Gather", name, index, axis=0), settings.hidden_size) for name in after)
        weight, bias = weights[f"layers.{layer}.weight_hh"], weights.get(f"layers.{layer}.bias_hh", 0.0)
        parts = settings.recurrent_cell.step(x, before, weight, bias, _tanh)
        for names, part in zip(after.values(), parts, strict=True):
            names.append(graph.add("Unsqueeze", part.name, axis))
        x = parts[0]
    logits = x @ weights["output.weight"].T + weights.get("output.bias", 0.0)
    graph.add("Identity", logits.name, output="logits")
    graph.add("Softmax", logits.name, output="probabilities", axis=-1)
    for name, layers in after.items():
        graph.add("Concat", *layers, output=f"next_{name}", axis=0)
    state = ("float32", (settings.num_layers, _STREAMS, settings.hidden_size))
    distribution = ("float32", (_STREAMS, settings.vocab_size))
    inputs: _Shapes = {"ids": ("int64", (_STREAMS,)), **dict.fromkeys(after, state)}
    outputs: _Shapes = {"logits": distribution, "probabilities": distribution}
    return inputs, outputs | {f"next_{name}": state for name in after}
