"""The outputs of layers after a pass against the original's, as the signal to quantization noise ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.explanation.layers import WeightedNode
from compressctl.explanation.noise import Noise, decibels
from compressctl.explanation.schema import LayerSqnr
from compressctl.explanation.streams import Values, batch_size, exposed, side_by_side
from compressctl.measure.session import Session
from compressctl.model import ops
from compressctl.resources import Resources

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
    resources: Resources,
    *,
    earlier: Mapping[str, LayerNoise],
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
        resources: threads, work folder, and progress: one tick a batch.
        earlier: what became of the layers after the pass before; empty after the first.

    Returns:
        What became of each layer, by name, and SQNR of the models' float outputs, None where shapes differ.

    Raises:
        ModelError, DataError: a model cannot be run on the samples.
    """
    sums = _Sums(baseline, after, layers)
    threads, folder = resources.threads, resources.workdir
    first = Session(exposed(baseline, sums.wanted), threads=threads, workdir=folder, spinning="never")
    second = Session(exposed(after, sums.given), threads=threads, workdir=folder, spinning="never")
    size = batch_size(first, source)
    for _, before, now in side_by_side(first, second, source, size, resources.progress, f"compare {label}"):
        sums.add(before, now)
    nothing = LayerNoise(LayerSqnr(label, None, None))
    found = {layer.name: sums.judge(layer, label, earlier.get(layer.name, nothing)) for layer in layers}
    return found, sums.outputs_db


class _Sums:
    """Noise of all layers' outputs, of what they read, and of the models' outputs, batch by batch.

    Attributes:
        wanted: values of the original that are compared.
        given: values of the other model.
    """

    def __init__(self, baseline: ir.Model, after: ir.Model, layers: Sequence[WeightedNode]) -> None:
        present = {output.name for node in after.graph for output in node.outputs}
        self._candidates = {layer.name: _candidates(layer, present) for layer in layers}
        self._pairs: dict[tuple[str, int | None], tuple[str, str]] = {}  # layer, index of the value or None for input
        self._noises: dict[tuple[str, int | None], Noise] = {}
        for layer in layers:
            candidates = self._candidates[layer.name]
            pairs: dict[int | None, tuple[str, str]] = {
                i: (layer.values[i], layer.values[candidates[0]]) for i in candidates
            }
            if layer.input in present and layer.op not in ops.LOOK_UPS:
                pairs[None] = layer.input, layer.input
            for index, pair in pairs.items():
                self._pairs[layer.name, index] = pair
                self._noises[layer.name, index] = Noise(_channel_axis(layer))
        self._outputs = {value.name or "": Noise(None) for value in baseline.graph.outputs}
        self.wanted = [before for before, _ in self._pairs.values()]
        self.given = [now for _, now in self._pairs.values()]

    def add(self, before: Values, now: Values) -> None:
        """Take in a batch; what cannot be compared is left out from then on."""
        for key in list(self._noises):
            one, other = before.get(self._pairs[key][0]), now.get(self._pairs[key][1])
            if one is None or other is None or not self._noises[key].add(one, other):
                del self._noises[key]
        for name in list(self._outputs):
            if not self._outputs[name].add(before[name], now[name]):
                del self._outputs[name]

    def judge(self, layer: WeightedNode, label: str, earlier: LayerNoise) -> LayerNoise:
        """Return what became of a layer."""
        candidates = self._candidates[layer.name]
        good = {i: self._noises[layer.name, i] for i in candidates if (layer.name, i) in self._noises}
        return _judge(layer, label, candidates, good, self._noises.get((layer.name, None)), earlier)

    @property
    def outputs_db(self) -> float | None:
        """SQNR of the float outputs, their noise averaged; None where shapes differ."""
        ratios = [noise.ratio for noise in self._outputs.values()]
        return decibels(float(np.mean(ratios))) if ratios else None


def _channel_axis(layer: WeightedNode) -> int | None:
    """Return where channels lie; those of an embedding, which may look the same row up always, carry no factors."""
    if layer.op in ops.LOOK_UPS:
        return None
    return 1 if layer.op in ops.CONVOLUTIONAL else -1


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
