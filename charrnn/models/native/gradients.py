"""Loss and gradients of windows by the C kernels, for a network of one layer with one-hot input.

Legend: T steps, B streams, H units, G gates, V symbols.

The numbers are those of ``CharRNN.loss`` and torch's backward pass, to the last bit: the kernels are the same. But the
arrays are made once, and torch keeps no record: to keep and read it took longer between the kernels of a small network
than the kernels themselves.
"""

import torch
from torch import Tensor

from charrnn.models.cells import State
from charrnn.models.dropout import num_dropped, scrambled
from charrnn.models.layer import Backend
from charrnn.models.native.kernel import cell_facts, kernel_number
from charrnn.models.native.output import Output
from charrnn.models.native.recurrence import Window
from charrnn.models.native.tensors import PRECISIONS, addresses, drop, floats, run, whole_numbers
from charrnn.models.settings import ModelSettings


def suits(settings: ModelSettings, backend: Backend) -> bool:
    """Whether ``WindowGradients`` can be had for such a network."""
    return backend.path == "native" and settings.input == "one-hot" and settings.num_layers == 1


class WindowGradients:
    """Computes gradients of windows of one shape.

    Args:
        settings: the network's shape, one that ``suits``.
        weights: by name, float32 on the CPU, contiguous; they stay where they are and are read anew for each window.
        backend: threads and precision.
        dropout: share of the outputs dropped.
        weight_dropout: share of the recurrent weights dropped.
        window_shape: T and B.

    Attributes:
        gradients: of the weights, by name, in the same shapes; each window puts its own in.

    Raises:
        RuntimeError: there is no library, or a weight is not as it must be.
    """

    def __init__(
        self,
        settings: ModelSettings,
        weights: dict[str, Tensor],
        backend: Backend,
        *,
        dropout: float,
        weight_dropout: float,
        window_shape: tuple[int, int],
    ) -> None:
        self._weights = {name: floats(name, w, *w.shape) for name, w in weights.items()}
        self.gradients = {name: torch.empty_like(w) for name, w in self._weights.items()}
        self._shape = steps, streams = window_shape
        size, num_symbols = settings.hidden_size, settings.vocab_size
        cell = kernel_number(settings.recurrent_cell.kernel)
        facts = cell_facts(cell)
        rows = facts.num_gates * size
        numbers = {"H": size, "V": num_symbols, "num_threads": max(1, backend.num_threads)}
        numbers["precision"] = PRECISIONS[backend.precision]
        self._num_threads = numbers["num_threads"]
        self._dropout, self._weight_dropout = num_dropped(dropout), num_dropped(weight_dropout)

        self._states = [torch.empty(steps + 1, streams, size) for _ in settings.recurrent_cell.states]
        self._grad_states = [torch.empty(streams, size) for _ in self._states]
        self._outputs = torch.empty(steps, streams, size) if self._dropout else self._states[0][1:]
        self._grad_outputs = torch.empty(steps, streams, size)
        recurrent = self._weights["layers.0.weight_hh"]
        self._recurrent = torch.empty_like(recurrent) if self._weight_dropout else recurrent
        self._table, self._grad_table = torch.empty(num_symbols, rows), torch.empty(num_symbols, rows)
        self._nats = torch.empty(steps * streams, dtype=torch.float64)
        self._room = {
            "saved": torch.empty(steps, streams, facts.num_saved * size),
            "grad_x": torch.empty(steps, streams, rows),
            "grad_new": torch.empty(steps, streams, size) if facts.has_grad_new else None,
        }
        self._window = Window(
            cell=cell,
            T=steps,
            B=streams,
            **numbers,
            **addresses(
                x=self._table,
                weight_hh=self._recurrent,
                bias_hh=self._weights.get("layers.0.bias_hh"),
                hidden=self._states[0],
                cells=self._states[1] if facts.has_cell else None,
                grad_outputs=self._grad_outputs,
                grad_hidden=self._grad_states[0],
                grad_cells=self._grad_states[1] if facts.has_cell else None,
                grad_table=self._grad_table,
                grad_bias=self.gradients.get("layers.0.bias_hh"),
                grad_weight=self.gradients["layers.0.weight_hh"],
                **self._room,
            ),
        )
        self._output = Output(
            N=steps * streams,
            **numbers,
            **addresses(
                hidden=self._outputs,
                weight=self._weights["output.weight"],
                bias=self._weights.get("output.bias"),
                nats=self._nats,
                grad_hidden=self._grad_outputs,
                grad_weight=self.gradients["output.weight"],
                grad_bias=self.gradients.get("output.bias"),
            ),
        )

    def run(self, ids: Tensor, targets: Tensor, state: State, *, noise: int) -> tuple[Tensor, State]:
        """Mean nats of the targets (T, B), a float32 scalar, and the state after the last symbol; see ``CharRNN.loss``.

        Raises:
            RuntimeError: the window has another shape, or its symbols are no whole numbers.
            IndexError: an id is no symbol.
        """
        ids = whole_numbers("ids", ids, *self._shape)
        targets = whole_numbers("targets", targets, *self._shape)
        for rows, first in zip(self._states, state, strict=True):
            rows[0] = first[0]
        weights, gradients = self._weights, self.gradients
        bias = weights.get("layers.0.bias_ih")
        table = weights["layers.0.weight_ih"].T
        if bias is None:
            self._table.copy_(table)
        else:
            torch.add(table, bias, out=self._table)
        self._drop(weights["layers.0.weight_hh"], self._recurrent, self._weight_dropout, noise)
        self._window.ids, self._output.targets = ids.data_ptr(), targets.data_ptr()
        run("charrnn_forward", self._window)
        self._drop(self._states[0][1:], self._outputs, self._dropout, noise + 1)
        run("charrnn_output", self._output)

        self._drop(self._grad_outputs, self._grad_outputs, self._dropout, noise + 1)
        torch._foreach_zero_([*self._grad_states, self._grad_table])
        if "layers.0.bias_hh" in gradients:
            gradients["layers.0.bias_hh"].zero_()
        run("charrnn_backward", self._window)
        grad_recurrent = gradients["layers.0.weight_hh"]
        self._drop(grad_recurrent, grad_recurrent, self._weight_dropout, noise)
        gradients["layers.0.weight_ih"].copy_(self._grad_table.T)
        if bias is not None:
            torch.sum(self._grad_table, 0, out=gradients["layers.0.bias_ih"])
        return self._nats.mean().float(), State(rows[-1:].clone() for rows in self._states)

    def _drop(self, given: Tensor, to: Tensor, num_dropped: int, seed: int) -> None:
        """As ``models.dropout.dropout``, into an array that is there; nothing where nothing is dropped."""
        if num_dropped:
            drop(given, num_dropped=num_dropped, seed=scrambled(seed), num_threads=self._num_threads, to=to)
