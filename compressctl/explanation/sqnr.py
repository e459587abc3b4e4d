"""The outputs of layers after a pass against the original's, as the signal to quantization noise ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.explanation.layers import LOOK_UPS, WeightedNode
from compressctl.explanation.noise import Noise, decibels
from compressctl.explanation.schema import LayerSqnr
from compressctl.explanation.streams import batch_size, exposed, side_by_side
from compressctl.measure.session import Session
from compressctl.progress import Progress

_GONE = "no value of that name is left: the layer was removed or replaced"
_CUT = "its channels were cut, so they cannot be compared one by one; see the model's outputs"
_RESCALED = "its channels carry factors of their own (equalized): compared after undoing them"
_NONFINITE = "it holds NaN or infinity"


@dataclass(frozen=True)
class LayerNoise:
    """What became of a layer after a pass.

    Attributes:
        sqnr: of its output.
        lost_db: SQNR of what it reads less that of its output: what the layer itself adds; None where unknown.
        given: index in the layer's values of the one that the pass's model gives under its own name, or None.
        stands_for: index of the original's value that this one is: what was folded into the layer lies between.
        factors: whether channels of its output carry factors of their own, since this pass or an earlier one.
        rescaled: whether they do, or those of what it reads.
        cut: whether its output has another shape.
    """

    sqnr: LayerSqnr
    lost_db: float | None = None
    given: int | None = None
    stands_for: int | None = None
    factors: bool = False
    rescaled: bool = False
    cut: bool = False


def layer_noise(
    baseline: ir.Model,
    after: ir.Model,
    label: str,
    layers: Sequence[WeightedNode],
    source: Source,
    *,
    earlier: Mapping[str, LayerNoise],
    threads: int,
    workdir: Path,
    progress: Progress,
) -> tuple[dict[str, LayerNoise], float | None]:
    """Compare the output of each layer of `baseline` with that in `after`, and the outputs of both models.

    Where the pass folded what follows a layer into it (normalisation, a bias), its output is that of the original which
    it comes closest to, of those between this value and the next that bears its old name.

    Args:
        baseline: the original.
        after: the model after a pass.
        label: of the pass.
        layers: of the original.
        source: samples.
        earlier: what became of the layers after the pass before; empty after the first.
        threads: of onnxruntime.
        workdir: for temporary files.
        progress: one tick a batch.

    Returns:
        What became of each layer, by name, and SQNR of the models' float outputs, None where shapes differ.

    Raises:
        ModelError, DataError: a model cannot be run on the samples.
    """
    present = {output.name for node in after.graph for output in node.outputs}
    ranges = {layer.name: _candidates(layer, present) for layer in layers}
    inputs = {layer.name: layer.input for layer in layers if layer.input in present and layer.op not in LOOK_UPS}
    givens = {layer.name: layer.values[ranges[layer.name][0]] for layer in layers if ranges[layer.name]}
    wanted = [layer.values[i] for layer in layers for i in ranges[layer.name]]
    first = Session(exposed(baseline, [*wanted, *inputs.values()]), threads=threads, workdir=workdir, spinning="never")
    second = Session(
        exposed(after, [*givens.values(), *inputs.values()]), threads=threads, workdir=workdir, spinning="never"
    )
    axes = {layer.name: _channel_axis(layer) for layer in layers}
    noises = {(n, i): Noise(axes[n]) for n in ranges for i in ranges[n]}
    read = {name: Noise(axes[name]) for name in inputs}
    outputs = {value.name or "": Noise(-1) for value in baseline.graph.outputs}
    by_name = {layer.name: layer for layer in layers}
    broken: set[tuple[str, int]] = set()
    for _, before, now in side_by_side(first, second, source, batch_size(first, source), progress, f"compare {label}"):
        for (name, i), noise in noises.items():
            one, other = before.get(by_name[name].values[i]), now.get(givens[name])
            if one is None or other is None or not noise.add(one, other):
                broken.add((name, i))
        for name, noise in read.items():
            value = inputs[name]
            if value not in before or value not in now or not noise.add(before[value], now[value]):
                broken.add((name, -1))
        for name in [name for name in outputs if before[name].dtype.kind != "f"]:
            del outputs[name]
        outputs = {name: noise for name, noise in outputs.items() if noise.add(before[name], now[name])}
    found = {}
    for layer in layers:
        good = {i: noises[layer.name, i] for i in ranges[layer.name] if (layer.name, i) not in broken}
        came_in = read.get(layer.name) if (layer.name, -1) not in broken else None
        before_it = earlier.get(layer.name, LayerNoise(LayerSqnr(label, None, None)))
        found[layer.name] = _judge(layer, label, ranges[layer.name], good, came_in, before_it)
    ratios = [noise.ratio for noise in outputs.values()]
    return found, decibels(float(np.mean(ratios))) if ratios else None


def _channel_axis(layer: WeightedNode) -> int | None:
    """Return where channels lie; those of an embedding, which may look the same row up always, carry no factors."""
    if layer.op in LOOK_UPS:
        return None
    return 1 if "Conv" in layer.op else -1


def _candidates(layer: WeightedNode, present: set[str | None]) -> range:
    """Return the indices of the values that the first one which is left may stand for."""
    left = [i for i, value in enumerate(layer.values) if value in present]
    if not left:
        return range(0)
    return range(left[0], left[1] if len(left) > 1 else len(layer.values))


def _judge(
    layer: WeightedNode,
    label: str,
    candidates: range,
    good: dict[int, Noise],
    came_in: Noise | None,
    earlier: LayerNoise,
) -> LayerNoise:
    if not candidates:
        return LayerNoise(LayerSqnr(label, None, None, _GONE))
    value = layer.values[candidates[0]]
    if not good:
        return LayerNoise(LayerSqnr(label, None, value, _CUT), given=candidates[0], cut=True)
    ratios = {i: _ratio(noise, earlier.factors) for i, noise in good.items()}
    best = min(ratios, key=lambda i: (not np.isfinite(ratios[i]), ratios[i]))
    ratio, factors = ratios[best], good[best].regained(earlier.factors) is not None
    if np.isnan(ratio):
        return LayerNoise(LayerSqnr(label, None, value, _NONFINITE), None, candidates[0], best)
    rescaled = factors or earlier.rescaled or (came_in is not None and came_in.regained() is not None)
    sqnr = decibels(ratio)
    before = math.nan if came_in is None else decibels(_ratio(came_in))
    lost = before - sqnr if math.isfinite(before) and math.isfinite(sqnr) else None
    reason = _RESCALED if factors else None
    return LayerNoise(LayerSqnr(label, sqnr, value, reason), lost, candidates[0], best, factors, rescaled)


def _ratio(noise: Noise, known: bool = False) -> float:
    regained = noise.regained(known)
    return noise.ratio if regained is None else regained
