"""The processes that work together on one run, as `torchrun` starts them. Cheap to import: no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        local_rank: its number among those on this machine: the GPU that it uses.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0


def world() -> World:
    """Return this process's place, from the environment that `torchrun` sets."""
    rank, size, local_rank = (int(os.environ.get(name, fallback)) for name, fallback in _VARIABLES)
    return World(rank, size, local_rank)


_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
