"""How much a model loses when one layer alone is pruned, at several ratios.

What a change does to the outputs is judged on a few samples: noise, and the metric where there are labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.data.source import Source
from compressctl.measure.metric import Metric
from compressctl.measure.noise import Outputs, noise
from compressctl.measure.session import Session
from compressctl.progress import Progress
from compressctl.resources import Resources

_BATCH = 16


@dataclass(frozen=True)
class Judged:
    """How far a model is from the reference.

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


Build = Callable[[Mapping[str, float]], ir.Model]
"""Prunes a clone of the model: the ratio of each layer or group by name; those without one stay whole."""


@dataclass(frozen=True)
class Curve:
    """The loss by pruning one layer alone.

    Attributes:
        layer: its name, or its group's.
        ratios: ascending.
        judged: at each of them.
    """

    layer: str
    ratios: tuple[float, ...]
    judged: tuple[Judged, ...]


def sensitivity(
    build: Build,
    layers: Sequence[str],
    ratios: Sequence[float],
    judge: Callable[[ir.Model], Judged],
    progress: Progress,
) -> list[Curve]:
    """Measure the curve of each layer: one model for each layer and ratio is built and judged.

    Args:
        build: see `Build`.
        layers: names.
        ratios: ascending, between 0 and 1.
        judge: of a model.
        progress: one tick a layer.
    """
    return [
        Curve(layer, tuple(ratios), tuple(judge(build({layer: ratio})) for ratio in ratios))
        for layer in progress.track(layers, "measure each layer's sensitivity", total=len(layers))
    ]


def table(curves: Sequence[Curve], reference: Judged, *, samples: int, metric: str | None) -> dict[str, Any]:
    """Return the curves for the report, and from how many samples they come."""
    rows = [{"layer": curve.layer, **_columns(curve.judged)} for curve in curves]
    ratios = list(curves[0].ratios) if curves else []
    return {"samples": samples, "metric": metric, "unpruned": reference.score, "ratios": ratios, "layers": rows}


def _columns(judged: Sequence[Judged]) -> dict[str, list[float]]:
    noise = {"noise": [one.noise for one in judged]}
    scores = [one.score for one in judged if one.score is not None]
    return {**noise, "score": scores} if scores else noise
