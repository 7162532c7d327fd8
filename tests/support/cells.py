"""The cells that tests go through: every one there is."""

from typing import get_args

from charrnn.models.settings import Cell

CELLS = get_args(Cell)
# A cell and each of its forms, as options of the command.
OPTIONS = {cell: ["--cell", cell] for cell in CELLS} | {"gru-before": ["--cell", "gru", "--reset", "before"]}
