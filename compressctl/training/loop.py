"""The one training loop: on the graph as it is, towards labels or teachers, keeping the weights that score best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from compressctl.distributed import this_process
from compressctl.errors import UsageError
from compressctl.torchexec.determinism import deterministic
from compressctl.torchexec.merged import separate_merged
from compressctl.torchexec.module import require_trainable
from compressctl.training.checkpoint import load
from compressctl.training.checkpoint_paths import CheckpointPath
from compressctl.training.distributed import gather, process_group, torch_device
from compressctl.training.job import Job, Training
from compressctl.training.options import LossTerm, TrainingOptions
from compressctl.training.run import Run, conclude
from compressctl.training.setup import graph_module, set_up

__all__ = ["Job", "Training", "train"]


def train(model: ir.Model, options: TrainingOptions, losses: Sequence[LossTerm], job: Job) -> Training:
    """Train the weights of `model` in place, and leave it with those that score best on the held-out samples.

    The same model, options, samples, seed, versions and threads give the same weights, whether or not the training was
    interrupted and resumed. Under `torchrun` every process must call this; all of them get the same weights.

    Args:
        model: the graph; every node named. Only its weights and running statistics change, and equal ones that an
            exporter had merged become initializers of their own.
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
    separate_merged(model)
    place = this_process()
    device = torch_device(job.resources.device, place)
    with (
        process_group(place, device),
        deterministic(job.resources.threads, device),
        TemporaryDirectory(prefix="training-", dir=job.resources.workdir) as folder,
    ):
        module = graph_module(model, options, losses, device)
        resources = replace(job.resources, device=device, workdir=Path(folder))
        checkpoint = _of_this_start(job.checkpoint, (model, *job.teachers))
        job = replace(job, resources=resources, checkpoint=checkpoint)
        state = load(job.checkpoint, device)
        if len(set(gather(place, None if state is None else state.step))) > 1:
            raise UsageError("the processes do not find the same checkpoint", "write to a disk that they share")
        if state is None or not state.finished:
            setup = set_up(module, options, losses, job, place)
            state = Run(setup, options, job, place, state).finish()
        return conclude(module, state)


def _of_this_start(checkpoint: CheckpointPath | None, models: Iterable[ir.Model]) -> CheckpointPath | None:
    """Return the checkpoint with a key that also depends on the weights that training starts from and is taught by."""
    if checkpoint is None:
        return None
    digest = sha256(checkpoint.key.encode())
    for model in models:
        for name, value in model.graph.initializers.items():
            digest.update(name.encode())
            if value.const_value is not None:
                digest.update(value.const_value.tobytes())
    return replace(checkpoint, key=digest.hexdigest())
