"""Mixed precision: rank layers by the harm they do, measured one at a time, and find how many must stay in float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.measure.noise import first_feeds, float_outputs, noise
from compressctl.progress import Progress
from compressctl.quantization.plan import Plan

Build = Callable[[Plan], ir.Model]
"""Quantizes a fresh clone of the model by a plan."""


@dataclass(frozen=True)
class Harm:
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
    plan: Plan,
    source: Source,
    *,
    samples: int,
    threads: int,
    workdir: Path,
    progress: Progress,
) -> list[Harm]:
    """Quantize each layer of `plan` alone and measure the noise that brings to the outputs; the worst first.

    Args:
        build: see `Build`; the empty plan gives the float reference.
        plan: the layers.
        source: samples to run; labels are not needed.
        samples: at most this many are used.
        threads: of onnxruntime.
        workdir: for temporary files of large models.
        progress: one tick a layer.
    """
    feeds = first_feeds(source, samples)
    reference = float_outputs(build(Plan()), feeds, threads, workdir)
    harms = []
    for layer in progress.track(plan.layers, "measure each layer's harm", total=len(plan.layers)):
        outputs = float_outputs(build(plan.only(layer)), feeds, threads, workdir)
        harms.append(Harm(layer, noise(reference, outputs)))
    return sorted(harms, key=lambda harm: (-harm.noise, harm.layer))


def fewest_in_float(harms: Sequence[Harm], holds: Callable[[Sequence[str]], bool]) -> list[str] | None:
    """Return the shortest prefix of the ranking that, kept in float, makes `holds` true; None if none does.

    The number is doubled until it suffices, then narrowed by bisection: about 2 log2(layers) calls of `holds`.
    """
    layers = [harm.layer for harm in harms]
    if holds([]):
        return []
    too_few, enough = 0, 1
    while not holds(layers[:enough]):
        if enough >= len(layers):
            return None
        too_few, enough = enough, min(2 * enough, len(layers))
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if holds(layers[:middle]):
            enough = middle
        else:
            too_few = middle
    return layers[:enough]
