"""The work of the pass `smooth_quant`, and what a search may try of it: with it or without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import onnx_ir as ir

from compressctl.errors import UsageError
from compressctl.passes.base import Context, Outcome
from compressctl.passes.smooth_quant import Config
from compressctl.passes.space import Draw, Params, PassSpace, Space, Stage, Subject
from compressctl.quantization.int8.calibration import observe
from compressctl.quantization.preparation.smoothing import places, smooth


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Smooth the activations of `model` in place.

    Raises:
        UsageError: there are no calibration samples.
    """
    if context.calibration is None:
        raise UsageError("smooth_quant needs calibration data", "add --calibrate DATA")
    found, notes = places(model.graph)
    if not found:
        return Outcome(model, notes)
    observations = observe(model, (), context.calibration, context, channel_absmax=[place.tensor for place in found])
    return Outcome(model, (*notes, *smooth(model, found, observations.channel_absmax, config.alpha)))


class SmoothQuantSpace(PassSpace):
    """The parameter `smooth`."""

    def choices(self, subject: Subject) -> Mapping[str, tuple[Any, ...]]:
        return {"smooth": (False, True)} if subject.calibrated and places(subject.model.graph)[0] else {}

    def draw(self, draw: Draw) -> None:
        if draw.format.kind == "integer" and "smooth" in draw.space.choices:
            draw.choice("smooth", draw.space.choices["smooth"])

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if params.get("smooth"):
            yield Stage.PREPARE, Config()
