"""Passes run on small models."""

from pathlib import Path
from types import ModuleType
from typing import Any

import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.model.verify import verify_graph
from compressctl.passes.base import Context, Outcome, PassConfig


def apply(
    which: ModuleType | PassConfig, model: ir.Model, folder: Path, calibration: Source | None = None, **options: Any
) -> Outcome:
    """Run a pass on a clone of `model`, in one thread, and check its graph; options: of the pass, or of its context."""
    given = {name: options.pop(name) for name in list(options) if name in Context.__dataclass_fields__}
    context = Context(**{"baseline": model, "workdir": folder, "calibration": calibration, "threads": 1, **given})
    config = which.Config(**options) if isinstance(which, ModuleType) else which
    outcome = config.run(model.clone(), context)
    verify_graph(outcome.model, where="test")
    return outcome


def texts(outcome: Outcome) -> dict[str | None, str]:
    """Return what the notes say, by node."""
    return {note.node: note.text for note in outcome.notes}
