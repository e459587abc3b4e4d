"""How much a model loses when one layer alone is pruned, at several ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from compressctl.progress import Progress
from compressctl.pruning.judge import Judged

Build = Callable[[Mapping[str, float]], ir.Model]
"""Prunes a clone of the model: the ratio of each layer or group by name; those without one stay whole."""


@dataclass(frozen=True)
class Curve:
    """What pruning one layer alone does.

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
