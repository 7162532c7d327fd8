"""A Python kernel, as a notebook has one, and a notebook executed in it cell by cell."""

import os
import tempfile
import time
from contextlib import contextmanager
from queue import Empty
from unittest import mock

import nbformat
from command import ENVIRONMENT
from jupyter_client.manager import KernelManager

SECONDS = 300  # no cell takes so long
_FORMAT = 4
_SHOWN = ("stream", "display_data", "execute_result", "error")
_FONTS = "Matplotlib is building the font cache"  # said on a slow machine
_WIDGET = "application/vnd.jupyter.widget-view+json"


class Kernel:
    """A process that executes cells; what it shows comes back as a notebook keeps it.

    Args:
        manager: of the process.
        client: talks to it.
    """

    def __init__(self, manager, client):
        self._manager = manager
        self._client = client

    def execute(self, source, *, stop_when=None):
        """Executes a cell.

        Args:
            source: of the cell.
            stop_when: when it first says True, the stop button is pressed.

        Returns:
            (count, outputs): the cell's number, and what it showed.
        """
        asked = self._client.execute(source)
        outputs, ends = [], time.monotonic() + SECONDS
        while time.monotonic() < ends:
            if stop_when is not None and stop_when():
                self._manager.interrupt_kernel()
                stop_when = None
            try:
                message = self._client.get_iopub_msg(timeout=0.05)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return self._reply(asked)["execution_count"], outputs
            if message["msg_type"] in _SHOWN and _FONTS not in message["content"].get("text", ""):
                outputs.append(nbformat.v4.output_from_msg(message))
        raise AssertionError(f"a cell did not end within {SECONDS} seconds: {source}")

    def _reply(self, asked):
        """The content of the answer to what was asked; late answers to the first greetings are passed over."""
        while True:
            message = self._client.get_shell_msg(timeout=SECONDS)
            if message["parent_header"].get("msg_id") == asked:
                return message["content"]


@contextmanager
def started_kernel(folder):
    """A kernel whose directory is ``folder``; what it keeps of its own goes with it."""
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR")
    with tempfile.TemporaryDirectory() as own:  # its path is short enough for sockets
        variables = dict.fromkeys(names, own) | {"PYTHONPATH": ENVIRONMENT["PYTHONPATH"]}
        with mock.patch.dict(os.environ, variables):
            manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{own}/port")
            manager.start_kernel(cwd=str(folder))
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def read(path):
    """The notebook in a file."""
    return nbformat.read(path, as_version=_FORMAT)


def code_cells(notebook):
    """The cells that are executed."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(notebook, folder):
    """Executes every cell of a notebook, which gets their output.

    Raises:
        AssertionError: a cell has raised an error.
    """
    with started_kernel(folder) as kernel:
        for cell in code_cells(notebook):
            cell.execution_count, cell.outputs = kernel.execute(cell.source)
            errors = ["\n".join(each.traceback) for each in cell.outputs if each.output_type == "error"]
            assert not errors, "\n".join(errors)


def write(notebook, path):
    """Writes a notebook as it is committed: with its output, but for widgets, which live as long as their kernel."""
    for cell in code_cells(notebook):
        outputs = []
        for each in cell.outputs:
            if each.output_type == "stream" and outputs and outputs[-1].get("name") == each.name:
                outputs[-1].text += each.text
            elif _WIDGET not in each.get("data", {}):
                outputs.append(each)
        cell.outputs = outputs
    nbformat.write(notebook, path)
