"""Torch that repeats itself bit for bit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def deterministic(threads: int, device: str) -> Iterator[None]:
    """Make torch repeat itself for the duration of the block; its global state is restored."""
    gpu = device.startswith("cuda")
    if gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to repeat itself
    threads_before = torch.get_num_threads()
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic  # its attributes are made by a property that mypy does not see
    fills = memory.fill_uninitialized_memory
    with torch.random.fork_rng([device] if gpu else []):
        try:
            torch.use_deterministic_algorithms(True, warn_only=gpu)  # some operators have no such kernel on a GPU
            memory.fill_uninitialized_memory = False  # costs time, finds faults of torch only
            torch.set_num_threads(threads or threads_before)
            yield
        finally:
            torch.set_num_threads(threads_before)
            torch.use_deterministic_algorithms(strict, warn_only=warns)
            memory.fill_uninitialized_memory = fills
