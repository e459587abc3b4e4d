"""The work of the pass `equalize`."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.passes.base import Context, Outcome
from compressctl.passes.equalize import Config
from compressctl.quantization.preparation.equalization import equalize


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Equalize the pairs of convolutions of `model` in place."""
    return Outcome(model, tuple(equalize(model, config.iterations)))
