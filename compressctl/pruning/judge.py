"""What a change does to a model's outputs on a few samples: noise, and the metric where there are labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.data.source import Source
from compressctl.measure.metric import Metric
from compressctl.measure.noise import Outputs, noise
from compressctl.measure.session import Session
from compressctl.resources import Resources

_BATCH = 16


@dataclass(frozen=True)
class Judged:
    """What was measured of a model.

    Attributes:
        noise: mean squared error of its outputs over the mean square of the reference's.
        score: of the metric, or None.
    """

    noise: float
    score: float | None


class Judge:
    """Judges models against a reference on the first samples of a source.

    Args:
        reference: whose outputs are right.
        source: the samples.
        metric: for its labels, or None.
        resources: threads and work folder of onnxruntime.
        samples: how many rows at most, rounded up to whole batches.
    """

    def __init__(
        self, reference: ir.Model, source: Source, metric: Metric | None, resources: Resources, *, samples: int
    ) -> None:
        self._source, self._metric, self._resources = source, metric, resources
        self._samples = samples
        self._reference, score = self._run(reference)
        self.reference = Judged(0.0, score)

    def __call__(self, model: ir.Model) -> Judged:
        """Run a model.

        Raises:
            ModelError: onnxruntime cannot run it.
            DataError: the samples do not fit it.
        """
        outputs, score = self._run(model)
        return Judged(noise(self._reference, outputs), score)

    def _run(self, model: ir.Model) -> tuple[Outputs, float | None]:
        session = Session(model, threads=self._resources.threads, workdir=self._resources.workdir)
        floats = [spec.name for spec in session.outputs if spec.dtype.startswith("float")]
        metric = self._metric.fresh() if self._metric is not None else None
        outputs: list[list[Floats]] = []
        for batch in self._source.some(_BATCH, self._samples):
            results = session.run(batch.feeds)
            if metric is not None:
                metric.update(results, batch)
            outputs.append([results[name].astype(np.float64) for name in floats])
        return outputs, metric.result().value if metric is not None else None
