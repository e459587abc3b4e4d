"""Mixed precision: rank layers by their sensitivity, measured one at a time, and find how many must stay in float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.measure.noise import first_feeds, float_outputs, noise
from compressctl.quantization.int8.plan import QuantizationPlan
from compressctl.resources import Resources

T = TypeVar("T")
Build = Callable[[QuantizationPlan], ir.Model]
"""Quantizes a fresh clone of the model by a plan."""


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one layer alone does to the outputs.

    Attributes:
        layer: its name.
        noise: mean squared error of the outputs over their mean square, averaged over outputs; 0 is none.
    """

    layer: str
    noise: float

    @property
    def sqnr_db(self) -> float:
        """The same as a signal to quantization noise ratio in decibels."""
        return float("inf") if self.noise <= 0 else -10 * float(np.log10(self.noise))


def rank(
    build: Build,
    plan: QuantizationPlan,
    source: Source,
    resources: Resources,
    *,
    samples: int,
    parts: Sequence[Sequence[str]] | None = None,
) -> list[Sensitivity]:
    """Quantize each layer of `plan` alone and measure the noise that brings to the outputs; the worst first.

    Args:
        build: see `Build`; the empty plan gives the float reference.
        plan: the layers.
        source: samples to run; labels are not needed.
        resources: threads, work folder, and progress: one tick a layer.
        samples: at most this many are used.
        parts: layers to quantize together, each ranked under the name of its first; by default every layer by itself.
    """
    feeds = first_feeds(source, samples)
    reference = float_outputs(build(QuantizationPlan()), feeds, resources)
    sensitivities = []
    parts = [[layer] for layer in plan.layers] if parts is None else parts
    for part in resources.progress.track(parts, "measure each layer's sensitivity", total=len(parts)):
        outputs = float_outputs(build(plan.only(part)), feeds, resources)
        sensitivities.append(Sensitivity(part[0], noise(reference, outputs)))
    return sorted(sensitivities, key=lambda sensitivity: (-sensitivity.noise, sensitivity.layer))


def fewest_in_float(sensitivities: Sequence[Sensitivity], holds: Callable[[Sequence[str]], bool]) -> list[str] | None:
    """Return the shortest prefix of the ranking that, kept in float, makes `holds` true; None if none does."""
    return shortest_prefix([sensitivity.layer for sensitivity in sensitivities], holds)


def shortest_prefix(items: Sequence[T], holds: Callable[[Sequence[T]], bool]) -> list[T] | None:
    """Return the shortest prefix of `items` for which `holds` is true, taken to stay true from there; None if none is.

    The number is doubled until it suffices, then narrowed by bisection: about 2 log2(items) calls of `holds`.
    """
    if holds([]):
        return []
    too_few, enough = 0, min(1, len(items))
    while not holds(items[:enough]):
        if enough >= len(items):
            return None
        too_few, enough = enough, min(2 * enough, len(items))
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if holds(items[:middle]):
            enough = middle
        else:
            too_few = middle
    return list(items[:enough])
