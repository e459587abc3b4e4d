"""What a search may do to a model, found out by a look at it.

Layers that are sensitive for what they save are worth more bits than others. Sensitivity is measured a layer at a time,
on a few samples without labels; savings are a layer's share of the weights, and of the time that a profile of the model
on this machine shows. What single layers do nearly adds up (Dong et al. 2019, HAWQ, arXiv:1905.03696, rank alike).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import onnx_ir as ir

from compressctl.measure.measurement import sizes_of
from compressctl.measure.profile import node_times
from compressctl.model.load import interface
from compressctl.model.save import save_model
from compressctl.model.size import ModelSize, count
from compressctl.passes.base import PassConfig
from compressctl.passes.searched import SPACES
from compressctl.passes.space import Format, Space, Subject
from compressctl.passes.training import has_torch
from compressctl.pipeline.setup import Setup
from compressctl.pipeline.stages import run_passes
from compressctl.recipe.model import Recipe
from compressctl.search.candidate import filled, passes_of

_FLOAT = Format("float", "float")
_KINDS = ("float", "integer", "weights")  # in the order in which they are offered
_MOST_LAYERS = 64  # to measure; of more, those with the fewest weights are left out
_RUNS = 10


def beginning(recipe: Recipe) -> list[PassConfig]:
    """Return the passes that every candidate begins with: those of one that changes nothing."""
    nothing = Space((_FLOAT,), ("",), {}, calibrated=False, train=False, spare=())
    return passes_of(filled(nothing, {}), nothing, recipe.passes)


def survey(setup: Setup) -> Space:
    """Look at what the model is made of, and rank its layers.

    Raises:
        CompressctlError: the passes that every candidate begins with cannot be run.
    """
    model = run_passes(setup, beginning(setup.recipe))[-1].outcome.model
    trains = setup.context.training is not None and has_torch()
    subject = Subject(model, setup.context, setup.workload.fidelity, trains)
    formats = [_FLOAT, *(format for part in SPACES for format in part.formats(subject))]
    structures = [part.type for part in SPACES if part.cuts(subject)]
    return Space(
        formats=tuple(sorted(formats, key=lambda format: _KINDS.index(format.kind))),
        structures=("", *structures, *map(",".join, permutations(structures, 2))),
        choices={name: values for part in SPACES for name, values in part.choices(subject).items()},
        calibrated=subject.calibrated,
        train=trains,
        spare=tuple(rank_layers(setup, subject)),
    )


def rank_layers(setup: Setup, subject: Subject) -> list[str]:
    """Return layers by sensitivity for what few bits save, the one to spare first; of the first pass that has any.

    Args:
        setup: of the run; says what is to become small.
        subject: the model.
    """
    part, names = next(((part, names) for part in SPACES if (names := part.layers(subject))), (None, ()))
    if part is None:
        return []
    model = subject.model
    size = count(model, sizes_of(interface(model)[0], setup.workload.feeds))
    weights = _share({row.node: float(row.parameters) for row in size.by_layer}, names)
    layers = sorted(names, key=lambda name: -weights[name])[:_MOST_LAYERS]
    sensitivity = part.sensitivities(subject, layers)
    savings = _savings(setup, model, size, layers, weights)
    return sorted(sensitivity, key=lambda name: (-sensitivity[name] / max(savings[name], 1e-6), name))


def _savings(
    setup: Setup, model: ir.Model, size: ModelSize, layers: Sequence[str], weights: dict[str, float]
) -> dict[str, float]:
    """Return what few bits of each layer save: its share of the weights, of the time, or the mean of both."""
    assert setup.recipe.search is not None
    objective = setup.recipe.search.objective
    if objective == "size":
        return weights
    file = setup.context.workdir / "profiled.onnx"
    save_model(model, file, overwrite=True)
    measured: dict[str, float] = {}
    for (name, _), milliseconds in node_times(
        file, setup.workload.feeds, threads=setup.recipe.threads, runs=_RUNS
    ).items():
        measured[name] = measured.get(name, 0.0) + milliseconds
    # A node that onnxruntime renamed as it fused it has no time here: its work stands in for it.
    work = _share({row.node: float(row.macs or 0) for row in size.by_layer}, layers)
    known = [name for name in layers if name in measured]
    rate = sum(measured[name] for name in known) / max(sum(work[name] for name in known), 1e-9) if known else 1.0
    time = _share({name: measured.get(name, rate * work[name]) for name in layers}, layers)
    if objective == "latency":
        return time
    return {name: (weights[name] + time[name]) / 2 for name in layers}


def _share(amounts: dict[str, float], names: Sequence[str]) -> dict[str, float]:
    total = sum(amounts.get(name, 0.0) for name in names)
    return {name: amounts.get(name, 0.0) / total if total else 1 / len(names) for name in names}
