"""Everything that a training needs before its first step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from compressctl.data.source import Batch
from compressctl.distributed import Process
from compressctl.errors import ModelError, UsageError
from compressctl.notes import Note, done, skipped, warning
from compressctl.torchexec.module import GraphModule
from compressctl.torchexec.parameters import trainable
from compressctl.training.augment import Augmentation
from compressctl.training.binding import bind, watched
from compressctl.training.held_out import HeldOut, model_outputs, to_tensors
from compressctl.training.job import Job
from compressctl.training.kept import Clusters, Zeros
from compressctl.training.objective import Objective
from compressctl.training.optimizer import make_optimizer, scale_names
from compressctl.training.options import LossTerm, TrainingOptions
from compressctl.training.samples import TrainingSamples
from compressctl.training.teacher import Teachers

_NAMED = 3  # weights that a note names


@dataclass(frozen=True)
class Setup:
    """The parts of a training.

    Attributes:
        samples, augment, teachers: what is fed, and compared with.
        objective: the graph with its loss.
        held_out: the judge.
        optimizer: of the weights that the loss depends on; the others need no gradients.
        zeros: the weights that stay zero.
        clusters: the weights that stay equal.
        steps: steps to make.
        notes: what was found while setting up.
    """

    samples: TrainingSamples
    augment: Augmentation
    teachers: Teachers
    objective: Objective
    held_out: HeldOut
    optimizer: torch.optim.Optimizer
    zeros: Zeros
    clusters: Clusters
    steps: int
    notes: tuple[Note, ...]


def graph_module(model: ir.Model, options: TrainingOptions, losses: Sequence[LossTerm], device: str) -> GraphModule:
    """Return the graph, ready to train, with the values that the losses read.

    Raises:
        ModelError: nodes that cannot be executed, or a loss names a node that does not exist.
        UsageError: a glob of `freeze` matches no weight.
    """
    names = trainable(model.graph)
    frozen = {glob: [name for name in names if fnmatchcase(name, glob)] for glob in options.freeze}
    for glob, matched in frozen.items():
        if not matched:
            raise UsageError(f"freeze: {glob!r} matches no weight", f"there are {', '.join(list(names)[:5])}, …")
    return GraphModule(
        model,
        extra_outputs=watched(model, losses),
        batch_norm=options.batch_norm,
        frozen={name for matched in frozen.values() for name in matched},
        mode="compile" if options.compile else "trace",
        device=device,
    )


def set_up(
    module: GraphModule,
    options: TrainingOptions,
    losses: Sequence[LossTerm],
    job: Job,
    place: Process,
) -> Setup:
    """Decode the samples, find what the losses compare and which weights they reach, and run the teachers.

    Decoded samples fill the work folder of `job`, whose device is torch's name of one.

    Raises:
        UsageError, DataError, ModelError: as `loop.train`.
    """
    resources, device, batch = job.resources, job.resources.device, options.train_batch
    samples = TrainingSamples(job.source, resources, held_out=options.held_out, batch=batch, processes=place.size)
    augment = Augmentation(options.augment, samples.shapes, samples.label_shape)
    steps = options.steps or options.epochs * samples.steps_per_epoch

    first = samples.at(samples.rows(0)[place.shard(samples.batch)])
    feeds = to_tensors(first.feeds, device)
    labels = None if first.labels is None else torch.from_numpy(first.labels).to(device)
    module.eval()
    with torch.no_grad():
        values = module(feeds)
    judged = _judged(job, module, values, first)
    comparisons = bind(losses, module.model, job.teachers, values, labels, judged, feeds=feeds, paired=job.source.pairs)
    wanted = [one.teachers for one in comparisons if one.teachers]
    teachers = Teachers(job.teachers, wanted, resources)
    targets = to_tensors(teachers.run(first.feeds), device)
    objective = Objective(module, comparisons, values, targets, resources.seed)

    loss = objective(feeds, targets, labels)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ModelError(f"training cannot start: {why_not_finite(module, feeds, value)}")
    weights, notes = _reached(objective, loss)
    scales = scale_names(module.model.graph)
    optimizer = make_optimizer(weights, objective.adapters.values(), scales, options)

    zeros = Zeros(weights if options.keep_zeros else {})
    shared = {name: weight for name, weight in weights.items() if name not in scales}
    clusters = Clusters(shared if options.keep_clusters else {})
    notes += [*zeros.notes(), *clusters.notes()]

    again = steps > samples.steps_per_epoch and not augment
    rows = np.sort(np.concatenate([samples.held, samples.train])) if again else samples.held
    kept = teachers.keep(samples, rows, resources.progress)
    held_out = HeldOut(samples, teachers, objective, job.metric, options.train_batch, place, device)
    if kept is not None:
        notes.append(kept)
    if place.size > 1 and teachers.coupled is not None:
        part = f"its own {samples.batch // place.size} of a step's {samples.batch} samples"
        notes.append(warning(f"the rows of {teachers.coupled!r} depend on their batch, and each process sees {part}"))
    if samples.batch != options.train_batch and job.source.fixed_batch is not None:
        notes.append(done(f"trained with {samples.batch} samples a step: the model's batch is fixed"))
    return Setup(samples, augment, teachers, objective, held_out, optimizer, zeros, clusters, steps, tuple(notes))


def why_not_finite(module: GraphModule, feeds: Mapping[str, Tensor], loss: float) -> str:
    """Say where a loss, or the gradient of a finite loss, stopped being finite."""
    node = module.first_nonfinite(feeds)
    what = "the gradient is not finite" if math.isfinite(loss) else f"the loss is {loss}"
    return what if node is None else f"{what}, node {node!r} is the first whose output is not finite"


def _judged(job: Job, module: GraphModule, values: Mapping[str, Tensor], batch: Batch) -> str | None:
    """Return the output that the metric judges, if it judges one."""
    if job.metric is None or batch.labels is None:
        return None if job.metric is None else job.metric.output
    metric = job.metric.fresh()
    metric.update(model_outputs(module, values), batch)
    return metric.output


def _reached(objective: Objective, loss: Tensor) -> tuple[dict[str, Tensor], list[Note]]:
    """Return the weights that the loss depends on; the others get no gradients any more, and a note."""
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    weights = objective.student.weights
    reached: dict[str, Tensor] = {name: weight for name, weight in weights.items() if weight.grad is not None}
    if not reached:
        raise ModelError("the losses depend on no weight that is trained", "choose other losses or outputs")
    objective.zero_grad()
    left = [name for name in weights if name not in reached]
    for name in left:
        weights[name].requires_grad_(False)
    if not left:
        return reached, []
    names = ", ".join(left[:_NAMED]) + (f" and {len(left) - _NAMED} more" if len(left) > _NAMED else "")
    return reached, [skipped(f"not trained, as the losses do not depend on them: {names}", left[0])]
