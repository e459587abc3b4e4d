"""The work of the pass `smooth_quant`."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.errors import UsageError
from compressctl.passes.base import Context, Outcome
from compressctl.passes.smooth_quant import Config
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
