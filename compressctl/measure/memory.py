"""Peak memory of a model, in a fresh process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compressctl.arrays import Array
from compressctl.errors import UsageError
from compressctl.measure.isolated import TIMEOUT, run_isolated

RUNS = 3  # the first run allocates, the second plans its memory by the first, the third is as all that follow


@dataclass(frozen=True)
class PeakMemory:
    """Most memory that was resident, in bytes.

    Attributes:
        peak_bytes: of the process that loaded and ran the model.
        empty_bytes: of the same process just before: Python, numpy, onnxruntime and the feeds.
    """

    peak_bytes: int
    empty_bytes: int

    @property
    def model_bytes(self) -> int:
        """What loading and running the model added."""
        return self.peak_bytes - self.empty_bytes


def peak_memory(path: Path, feeds: Mapping[str, Array], *, threads: int = 0, timeout: float = TIMEOUT) -> PeakMemory:
    """Load a model file in a fresh process, run it three times, and return the memory that took.

    Raises:
        ModelError, DataError: as `isolated.check_file`.
        UsageError: the system does not tell how much memory a process uses.
    """
    finished = run_isolated(path, feeds, threads=threads, runs=RUNS, timeout=timeout)
    if finished.peak_bytes is None or finished.empty_bytes is None:
        raise UsageError("peak memory cannot be measured on this system", "it can on Linux and macOS")
    return PeakMemory(finished.peak_bytes, finished.empty_bytes)
