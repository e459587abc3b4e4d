"""The processes that work together on one run, as `torchrun` starts them. Cheap to import: no torch.

Source of the environment variables: torchrun's documentation (RANK, WORLD_SIZE, LOCAL_RANK).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from compressctl.errors import UsageError

_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


@dataclass(frozen=True)
class Process:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        local_rank: its number on this machine, which is that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """Return this process's part of `count` rows; all parts are equal, what does not divide is left out."""
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)


def this_process() -> Process:
    """Return this process's place, from the environment; alone where torchrun did not start it.

    Raises:
        UsageError: a variable is no number, or the rank is none of the processes.
    """
    given = {name: os.environ.get(name, default) for name, default in _VARIABLES}
    for name, text in given.items():
        if not (text.isascii() and text.isdecimal()):
            raise UsageError(f"{name}={text}: not a number", "torchrun sets it; unset it otherwise")
    place = Process(*map(int, given.values()))
    if place.rank >= place.size:
        raise UsageError(
            f"RANK={place.rank} of WORLD_SIZE={place.size}: no such process", "torchrun sets them; unset them otherwise"
        )
    return place
