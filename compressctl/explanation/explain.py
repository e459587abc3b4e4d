"""The explanation of a result: what each layer costs, what each pass did to it, and what would mend accuracy."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from compressctl.data.first import First
from compressctl.data.source import Source
from compressctl.explanation.costs import costs
from compressctl.explanation.harm import HarmMeter
from compressctl.explanation.layers import WeightedNode, weighted_nodes
from compressctl.explanation.schema import Explanation, LayerRow, OutputsSqnr
from compressctl.explanation.sqnr import LayerNoise, layer_noise
from compressctl.explanation.worst import patches, worst_layers
from compressctl.measure.measurement import sizes_of
from compressctl.measure.metric import Metric
from compressctl.measure.session import Session
from compressctl.model.load import load_model
from compressctl.notes import Note, skipped
from compressctl.progress import Progress, Silent

SAMPLES = 256  # rows that are run, at most


def explain(
    baseline: Path,
    stages: Sequence[tuple[str, Path]],
    source: Source,
    *,
    metric: Metric | None = None,
    evaluation: Source | None = None,
    entries: Mapping[str, Mapping[str, Any]] | None = None,
    threads: int = 0,
    workdir: Path,
    progress: Progress | None = None,
) -> Explanation:
    """Look into each layer of a model and of what passes made of it; the first 256 samples are run.

    Args:
        baseline: the input, as onnxruntime opens it.
        stages: label of each pass ("quantize", or "2 quantize" where a type comes twice) and the file after it, in
            order; the last one is the result.
        source: samples; labels are not needed.
        metric: for the harm of single layers; without it, or without `evaluation`, that is in the outputs alone.
        evaluation: samples with labels, or None.
        entries: the recipe's entries of the passes by label, without what is left at its default; patches repeat them.
        threads: of onnxruntime.
        workdir: an existing folder for temporary files.
        progress: shows the layers as they are measured.

    Raises:
        ModelError, DataError: a file cannot be loaded, or run on the samples.
    """
    progress = progress or Silent()
    progress.step("explain the result")
    original = load_model(baseline).model
    layers = weighted_nodes(original.graph)
    names: dict[str, set[str]] = {}
    seen: list[tuple[str, dict[str, LayerNoise], float | None]] = []
    model, found_by = original, {node.name or "" for node in original.graph}
    samples = First(source, SAMPLES)
    with tempfile.TemporaryDirectory(prefix="explain-", dir=workdir) as folder:
        for label, path in stages:
            names[label] = found_by
            model = load_model(path).model
            found_by = {node.name or "" for node in model.graph}
            noise, outputs = layer_noise(
                original,
                model,
                label,
                layers,
                samples,
                earlier=seen[-1][1] if seen else {},
                threads=threads,
                workdir=Path(folder),
                progress=progress,
            )
            seen.append((label, noise, outputs))
        feeds = source.first(1)
        dims = sizes_of(Session(baseline, threads=threads).inputs, feeds)
        known = {node.name or "" for node in original.graph}
        before, notes_before = costs(baseline, original, layers, known, feeds, dims, threads)
        after, notes_after = (
            costs(stages[-1][1], model, layers, known, feeds, dims, threads) if stages else (before, ())
        )
        judged = None if metric is None or evaluation is None else First(evaluation, SAMPLES, labels=True)
        meter = HarmMeter(
            original, model, samples if judged is None else judged, metric if judged else None, threads, Path(folder)
        )
        rows = []
        for layer in progress.track(layers, "measure each layer's harm", len(layers)):
            noises = [noise[layer.name] for _, noise, _ in seen]
            harm, why = meter.of(layer, noises[-1]) if noises else (None, "no pass was run")
            sqnr = tuple(noise.sqnr for noise in noises)
            row = LayerRow(layer.name, layer.op, before[layer.name], after[layer.name], sqnr, harm, why)
            rows.append(row)
    worst = worst_layers(rows, {name: noise.lost_db for name, noise in seen[-1][1].items()} if seen else {})
    return Explanation(
        layers=tuple(rows),
        other_before=before[None],
        other_after=after[None],
        outputs=tuple(OutputsSqnr(label, sqnr) for label, _, sqnr in seen),
        worst=worst,
        patches=patches(worst, rows, entries or {}, names),
        samples=len(samples),
        metric=metric.name if judged is not None and metric is not None else None,
        notes=(*notes_before, *notes_after, *_notes(original, layers)),
    )


def _notes(model: ir.Model, layers: Sequence[WeightedNode]) -> tuple[Note, ...]:
    """Say where layers may be that no row is about."""
    held = [node.name or "" for node in model.graph if node.op_type in ("If", "Loop", "Scan")]
    notes = [skipped("layers in the bodies of control flow are not looked into", name) for name in held]
    if not layers:
        notes.append(skipped("the model has no layers with weights of its own"))
    return tuple(notes)
