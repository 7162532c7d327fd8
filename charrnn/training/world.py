"""The processes that share a run: one, or those that torchrun has started, on one machine or several.

Each process computes its share of the streams; gradients are averaged before every update, so all hold the same weights
to the last bit. Only rank 0 writes files and messages.

    torchrun --nproc-per-node 2 -m charrnn train text.txt
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from charrnn.errors import DeviceError, SettingsError

TIMEOUT_SECONDS = 300.0  # a process that has died ends the others after so long at the latest


@dataclass(frozen=True)
class World:
    """A process's place among those of its run.

    Attributes:
        rank: 0 to size - 1.
        size: processes; 1 communicates nothing.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def columns(self, num_streams: int) -> slice:
        """The streams, of ``num_streams`` in all, that this process computes.

        Raises:
            SettingsError: they cannot be divided evenly.
        """
        if num_streams % self.size:
            raise SettingsError(
                f"`batch_size` is {num_streams}; it must be a multiple of the {self.size} processes that share it"
            )
        share = num_streams // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Averages tensors over the processes, in place, in one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _talking():
            dist.all_reduce(flat)
        flat /= self.size
        at = 0
        for tensor in tensors:
            tensor.copy_(flat[at : at + tensor.numel()].view_as(tensor))
            at += tensor.numel()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Which of the flags some process has raised: clocks and signals differ, but all processes must do the same."""
        if self.size == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.float32)
        with _talking():
            dist.all_reduce(raised)
        return tuple(bool(value > 0) for value in raised)

    def gather(self, part: Tensor, dim: int) -> Tensor:
        """All processes' parts side by side along ``dim``, in order of rank."""
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        with _talking():
            dist.all_gather(parts, part.contiguous())
        return torch.cat(parts, dim)

    def from_first(self, value: Any) -> Any:  # noqa: ANN401 - any plain value
        """What rank 0 gives as ``value``, plain JSON."""
        if self.size == 1:
            return value
        sent = json.dumps(value).encode()
        length = torch.tensor([len(sent)])
        with _talking():
            dist.broadcast(length, 0)
        data = torch.tensor(list(sent), dtype=torch.uint8) if self.is_first else torch.zeros(int(length)).byte()
        with _talking():
            dist.broadcast(data, 0)
        return json.loads(bytes(data.tolist()))


@contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise DeviceError(
            "another process of this run ended or is out of reach; start all of them again with `resume`"
        ) from error


ALONE = World()


@contextmanager
def join() -> Iterator[World]:
    """The world that torchrun's environment describes; a world of one process without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not dist.is_available():
        yield ALONE
        return
    # Small messages between processes go by gloo, gradients on GPUs by NCCL.
    backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    # Imported later, by torch's optimizers, this module keeps the group in the default values of its functions: the
    # group's threads then outlive destroy_process_group, and one that drops a tensor as Python ends aborts the process.
    import_module("torch.distributed.nn.functional")
    with _talking():
        dist.init_process_group(backends, timeout=timedelta(seconds=TIMEOUT_SECONDS))
    try:
        yield World(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
