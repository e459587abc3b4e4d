"""Running a pass on weights in float32 that the file keeps in half precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx_ir as ir

from compressctl.model.tensor_file import TensorFiles
from compressctl.passes.base import Context, Outcome, PassConfig
from compressctl.storage.halves import close_halves, open_halves


def run_widened(
    run: Callable[[ir.Model, PassConfig, Context], Outcome], model: ir.Model, config: PassConfig, context: Context
) -> Outcome:
    """Call `run` on `model`, edited, with opened weights; put what it leaves float32 back in half precision.

    Where weights keep their form, so do those that take the place of others, such as factors of a matrix.
    """
    files = TensorFiles(context.workdir)
    halves = open_halves(model, files)
    if not halves.tensors:
        return run(model, config, context)
    unprepared = context.unprepared.clone() if context.unprepared is not None else None
    if unprepared is not None:
        open_halves(unprepared, files)
    outcome = run(model, config, replace(context, unprepared=unprepared))
    notes = close_halves(outcome.model, halves, new=config.form is None, files=files)
    return replace(outcome, notes=(*outcome.notes, *notes))
