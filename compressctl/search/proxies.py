"""What is cheap to know of layers before anything is searched: sensitivity to few bits, and what they save.

Layers that are sensitive for what they save are worth more bits than others. Sensitivity is measured a layer at a time,
on a few samples without labels; savings are a layer's share of the weights, and of the time that a profile of the model
on this machine shows. What single layers do nearly adds up (Dong et al. 2019, HAWQ, arXiv:1905.03696, rank alike).
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from compressctl.measure.measurement import sizes_of
from compressctl.measure.profile import node_times
from compressctl.model.load import interface
from compressctl.model.save import save_model
from compressctl.model.size import ModelSize, count
from compressctl.passes.searched import SPACES
from compressctl.passes.space import Subject
from compressctl.pipeline.setup import Setup

_MOST_LAYERS = 64  # to measure; of more, those with the fewest weights are left out
_RUNS = 10


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
    size = count(model, sizes_of(interface(model)[0], setup.workload.feeds or {}))
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
        file, setup.workload.feeds or {}, threads=setup.recipe.threads, runs=_RUNS
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
