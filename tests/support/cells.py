"""The cells that tests go through: every one in the table, so that a new one is tested the day it is added."""

from charrnn.models.cells import CELLS as TABLE

CELLS = list(TABLE)
WITH_KERNEL = [name for name, cell in TABLE.items() if cell.kernel]
OF_TORCH = [name for name, cell in TABLE.items() if cell.fused]  # torch has an operator, and so a layer, of its own
OPTIONS = {cell: ["--cell", cell] for cell in CELLS}  # of the command


def torch_layer(cell, *sizes, **options):
    """The layer of torch.nn that computes a cell of ``OF_TORCH``: an oracle that shares no code with charrnn."""
    from torch import nn

    kind = {"rnn_tanh": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[TABLE[cell].fused]
    return kind(*sizes, **options)
