"""The explanation of a result: what each layer costs, what each pass did to it, and what would mend accuracy."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from compressctl.data.first import First
from compressctl.data.source import Source
from compressctl.explanation.costs import CostMeter
from compressctl.explanation.layers import WeightedNode, weighted_nodes
from compressctl.explanation.schema import Cost, Explanation, LayerRow, OutputsSqnr
from compressctl.explanation.sensitivity import SensitivityMeter
from compressctl.explanation.sqnr import LayerNoise, layer_noise
from compressctl.explanation.weights import ResultWeights
from compressctl.explanation.worst import patches, rank, worst_layer
from compressctl.measure.measurement import sizes_of
from compressctl.measure.metric import Metric
from compressctl.measure.session import Session
from compressctl.model.load import load_model
from compressctl.model.ops import CONTROL_FLOW
from compressctl.notes import Note, done, skipped
from compressctl.resources import Resources

SAMPLES = 256  # rows that are run, at most
SENSITIVITY_MACS = 2 * 10**12  # multiply-accumulates that measuring sensitivity may take: a few minutes on one core
_FEWEST = 32  # rows that sensitivity is measured on all the same


def explain(
    baseline: Path,
    stages: Sequence[tuple[str, Path]],
    source: Source,
    resources: Resources,
    *,
    metric: Metric | None = None,
    evaluation: Source | None = None,
    entries: Mapping[str, Mapping[str, Any]] | None = None,
) -> Explanation:
    """Look into each layer of a model and of what passes made of it, on the first 256 samples.

    The sensitivity of single layers needs a run of the model each: of large models on fewer, 32 at least.

    Args:
        baseline: the input, as onnxruntime opens it.
        stages: label of each pass ("quantize", or "2 quantize" where a type comes twice) and the file after it, in
            order; the last one is the result.
        source: samples; labels are not needed.
        resources: threads, work folder, and progress, which shows the layers as they are measured.
        metric: for the sensitivity of single layers; without it, or without `evaluation`, that is in the outputs alone.
        evaluation: samples with labels, or None.
        entries: the recipe's entries of the passes by label, without what is left at its default; patches repeat them.

    Raises:
        ModelError, DataError: a file cannot be loaded, or run on the samples.
    """
    resources.progress.step("explain the result")
    original = load_model(baseline).model
    layers = weighted_nodes(original.graph)
    samples = First(source, SAMPLES)
    with tempfile.TemporaryDirectory(prefix="explain-", dir=resources.workdir) as folder:
        resources = replace(resources, workdir=Path(folder))
        result, seen = _follow(original, stages, layers, samples, resources)
        feeds = source.first(1)
        dims = sizes_of(Session(baseline, threads=resources.threads).inputs, feeds)
        cost = CostMeter(layers, {node.name or "" for node in original.graph}, feeds, dims, resources.threads)
        before, notes_before = cost.costs(baseline, original)
        last = stages[-1][1] if stages else baseline
        after, notes_after = cost.costs(last, result)
        rows_judged = _affordable(before, len(layers))
        metric = None if evaluation is None else metric
        judged = First(evaluation if evaluation is not None and metric else source, rows_judged, labels=True)
        meter, weights = SensitivityMeter(original, judged, metric, resources), ResultWeights(result, resources.threads)
        rows = []
        for layer in resources.progress.track(layers, "measure each layer's sensitivity", len(layers)):
            noises = [stage.layers[layer.name] for stage in seen]
            sensitivity, why = meter.of(layer, noises[-1], weights) if noises else (None, "no pass was run")
            sqnr = tuple(noise.sqnr for noise in noises)
            row = LayerRow(layer.name, layer.op, before[layer.name], after[layer.name], sqnr, sensitivity, why)
            rows.append(row)
        ranked = rank(rows, {name: noise.lost_db for name, noise in seen[-1].layers.items()} if seen else {})
        nodes = {layer.name: layer for layer in layers}
        sensitivities = _sensitivities([nodes[row.name] for row, _ in ranked], stages, seen, meter, resources.threads)
    worst = [worst_layer(row, why, sensitivities[row.name]) for row, why in ranked]
    return Explanation(
        layers=tuple(rows),
        other_before=before[None],
        other_after=after[None],
        outputs=tuple(OutputsSqnr(stage.label, stage.outputs_db) for stage in seen),
        worst=tuple(worst),
        patches=patches(worst, rows, entries or {}, {stage.label: stage.found for stage in seen}),
        samples=len(samples),
        sensitivity_samples=len(judged),
        metric=metric.name if metric is not None else None,
        notes=(*notes_before, *notes_after, *_notes(original, layers, len(judged), len(samples))),
    )


@dataclass(frozen=True)
class _Stage:
    """What a pass did: to each layer by name, to the outputs; `found` are the nodes that it found."""

    label: str
    layers: dict[str, LayerNoise]
    outputs_db: float | None
    found: frozenset[str]


def _follow(
    original: ir.Model,
    stages: Sequence[tuple[str, Path]],
    layers: Sequence[WeightedNode],
    samples: Source,
    resources: Resources,
) -> tuple[ir.Model, list[_Stage]]:
    """Return the result, and what each pass did; one of the models is open beside the original at a time."""
    model, seen = original, list[_Stage]()
    for label, path in stages:
        found = frozenset(node.name or "" for node in model.graph)
        model = load_model(path).model
        earlier = seen[-1].layers if seen else {}
        noise, outputs = layer_noise(original, model, label, layers, samples, resources, earlier=earlier)
        seen.append(_Stage(label, noise, outputs, found))
    return model, seen


def _sensitivities(
    layers: Sequence[WeightedNode],
    stages: Sequence[tuple[str, Path]],
    seen: Sequence[_Stage],
    meter: SensitivityMeter,
    threads: int,
) -> dict[str, dict[str, float]]:
    """Return the sensitivity in dB to the weights of some layers after each pass, by layer and label."""
    found: dict[str, dict[str, float]] = {layer.name: {} for layer in layers}
    for (_, path), stage in zip(stages if layers else (), seen if layers else (), strict=True):
        weights = ResultWeights(load_model(path).model, threads)
        for layer in layers:
            sensitivity, _ = meter.of(layer, stage.layers[layer.name], weights)
            if sensitivity is not None:
                found[layer.name][stage.label] = sensitivity.sqnr_db
    return found


def _affordable(costs: Mapping[str | None, Cost], layers: int) -> int:
    """Return on how many samples each layer's sensitivity can be measured within `SENSITIVITY_MACS`."""
    once = sum(cost.macs or 0 for cost in costs.values())
    return int(min(SAMPLES, max(_FEWEST, SENSITIVITY_MACS // max(1, once * layers))))


def _notes(model: ir.Model, layers: Sequence[WeightedNode], judged: int, run: int) -> tuple[Note, ...]:
    """Say where layers may be that no row is about, and what was measured on fewer samples."""
    held = [node.name or "" for node in model.graph if node.op_type in CONTROL_FLOW]
    notes = [skipped("layers in the bodies of control flow are not looked into", name) for name in held]
    if not layers:
        notes.append(skipped("the model has no layers with weights of its own"))
    elif judged < min(run, SAMPLES):
        notes.append(
            done(f"the sensitivity of single layers was measured on the first {judged} samples: the model is large")
        )
    return tuple(notes)
