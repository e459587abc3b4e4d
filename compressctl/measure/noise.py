"""How far a model's outputs are from a reference's, on samples without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.data.source import Feeds, Source
from compressctl.measure.session import Session
from compressctl.resources import Resources

_BATCH = 8

Outputs = list[list[Floats]]


def first_feeds(source: Source, samples: int) -> list[Feeds]:
    """Return the feeds of the first `samples` samples, rounded up to whole batches of 8."""
    return [batch.feeds for batch in source.some(_BATCH, samples)]


def float_outputs(model: ir.Model, feeds: Sequence[Feeds], resources: Resources) -> Outputs:
    """Return the float outputs of a model, batch by batch.

    Raises:
        ModelError: onnxruntime cannot run it.
    """
    session = Session(model, threads=resources.threads, workdir=resources.workdir)
    names = [spec.name for spec in session.outputs if spec.dtype.startswith("float")]
    return [[output.astype(np.float64) for output in session.run(feed, names).values()] for feed in feeds]


def noise(reference: Outputs, outputs: Outputs) -> float:
    """Return the mean squared error of the outputs over their mean square, averaged over outputs; 0 is none."""
    ratios = []
    for index in range(len(reference[0])):
        error = sum(float(np.square(o[index] - r[index]).sum()) for r, o in zip(reference, outputs, strict=True))
        signal = sum(float(np.square(r[index]).sum()) for r in reference)
        ratios.append(error / max(signal, np.finfo(np.float64).tiny))
    return float(np.mean(ratios))
