"""Training in several processes, as `torchrun` starts them: each computes an equal part of every batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from compressctl.distributed import Process
from compressctl.errors import UsageError


def torch_device(device: str, place: Process) -> str:
    """Return torch's name of "cpu", "cuda", or "auto" (a GPU where there is one).

    Raises:
        UsageError: there is no such GPU.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not available):
        return "cpu"
    if place.local_rank >= available:
        raise UsageError(
            f"device {device}: torch sees {available} GPUs, process {place.local_rank} has none",
            "use --device cpu" if not available else f"start at most {available} processes",
        )
    return f"cuda:{place.local_rank}"


@contextmanager
def process_group(place: Process, device: str) -> Iterator[None]:
    """Connect the processes for the duration of the block; inside another such block, that one's connection serves."""
    if place.size == 1 or dist.is_initialized():
        yield
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    store, rank, size = next(rendezvous("env://"))
    count = store.add(f"connections of {rank}", 1)  # a second connection must not meet the addresses of the first
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, store=PrefixStore(f"connection {count}", store), rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def gather(place: Process, item: Any) -> list[Any]:
    """Return the items of all processes, by rank; every process must call it."""
    if place.size == 1:
        return [item]
    items: list[Any] = [None] * place.size
    dist.all_gather_object(items, item)
    return items


def average_(place: Process, tensors: Iterable[Tensor]) -> None:
    """Replace the values of tensors by their means over all processes; every process must call it."""
    if place.size == 1:
        return
    with torch.no_grad():
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor.div_(place.size)
