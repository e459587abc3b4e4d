"""The float inputs of a model: how their values spread over the samples, and which of them are images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from compressctl.data.source import Source

Layout = Literal["NCHW", "NHWC"]
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class InputSpread:
    """A float input over all samples.

    Attributes:
        std: standard deviation of all its values.
        low, high: the least and the largest of them.
        layout: of images [N, 1 or 3 channels, height, width] or channels last; None for all else.
    """

    std: float
    low: float
    high: float
    layout: Layout | None


def spreads(source: Source, batch_size: int) -> dict[str, InputSpread]:
    """Return how the values of each float input spread, by name; read as a stream (Chan et al. 1983 merge batches)."""
    names = [spec.name for spec in source.asked if spec.dtype.startswith("float")]
    count, mean, squares = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    low, high = dict.fromkeys(names, math.inf), dict.fromkeys(names, -math.inf)
    layouts: dict[str, Layout | None] = dict.fromkeys(names)
    for batch in source.batches(batch_size):
        rows = source.to_rows(batch)
        for name in names:
            values = rows[name].astype(np.float64)
            layouts[name] = _layout(values.shape)
            low[name], high[name] = min(low[name], float(values.min())), max(high[name], float(values.max()))
            total, step = count[name] + values.size, float(values.mean()) - mean[name]
            squares[name] += float(values.var()) * values.size + step**2 * count[name] * values.size / total
            mean[name] += step * values.size / total
            count[name] = total
    return {
        name: InputSpread(math.sqrt(squares[name] / count[name]), low[name], high[name], layouts[name])
        for name in names
    }


def _layout(shape: tuple[int, ...]) -> Layout | None:
    if len(shape) != 4:
        return None
    if shape[1] in _CHANNELS:
        return "NCHW"
    return "NHWC" if shape[3] in _CHANNELS else None
