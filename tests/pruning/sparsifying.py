"""What tests of sparsity share: running the pass, and reading weights."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.passes import sparsify
from compressctl.passes.base import Context, Outcome
from tests.training.tiny import Arrays


def run(model: ir.Model, workdir: Path, calibration: Source | None = None, seed: int = 0, **options: Any) -> Outcome:
    """Sparsify a clone of `model`."""
    context = Context(baseline=model, workdir=workdir, calibration=calibration, threads=1, seed=seed)
    return sparsify.Config(**options).run(model.clone(), context)


def source(**arrays: np.ndarray) -> Arrays:
    """Return samples without labels."""
    return Arrays(arrays)


def texts(outcome: Outcome) -> dict[str | None, str]:
    """Return what the notes say, by node."""
    return {note.node: note.text for note in outcome.notes}
