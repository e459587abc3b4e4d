"""The one training loop: on the graph as it is, towards labels or teachers, keeping the weights that score best."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir as ir
import torch

from compressctl.errors import UsageError
from compressctl.torchexec.module import require_trainable
from compressctl.training.checkpoint import load
from compressctl.training.distributed import gather, process_group, torch_device
from compressctl.training.job import Job, Training
from compressctl.training.options import LossTerm, TrainingOptions
from compressctl.training.run import Run, conclude
from compressctl.training.setup import graph_module, set_up
from compressctl.world import world

__all__ = ["Job", "Training", "train"]


def train(model: ir.Model, options: TrainingOptions, losses: Sequence[LossTerm], job: Job) -> Training:
    """Train the weights of `model` in place, and leave it with those that score best on the held-out samples.

    The same model, options, samples, seed, versions and threads give the same weights, whether or not the training was
    interrupted and resumed. Under `torchrun` every process must call this; all of them get the same weights.

    Args:
        model: the graph; every node named. Only its weights and running statistics change.
        options: how to train; `options.losses` is not read.
        losses: the terms of the loss, at least one.
        job: samples, teachers, place to work.

    Raises:
        UsageError: a loss lacks its teacher or is ambiguous, the device is missing, the checkpoint is of another run.
        DataError: samples or labels do not fit, are too few, or do not fit on disk; the checkpoint is damaged.
        ModelError: nodes that cannot be trained, values that cannot be compared, or a loss that is not finite at once.
        OutputError: the checkpoint cannot be written.
    """
    if not losses:
        raise UsageError("there is no loss to train with", "name one, e.g. cross-entropy or kl")
    require_trainable(model)
    place = world()
    device = torch_device(job.device, place)
    with (
        process_group(place, device),
        _deterministic(job.threads, device),
        TemporaryDirectory(prefix="training-", dir=job.workdir) as folder,
    ):
        module = graph_module(model, options, losses, device)
        state = load(job.checkpoint, device)
        if len(set(gather(place, None if state is None else state.step))) > 1:
            raise UsageError("the processes do not find the same checkpoint", "write to a disk that they share")
        if state is None or not state.finished:
            setup = set_up(module, options, losses, job, place, device, Path(folder))
            state = Run(setup, options, job, place, device, state).finish()
        return conclude(module, state)


@contextmanager
def _deterministic(threads: int, device: str) -> Iterator[None]:
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
