"""Moments of what linear layers read, over calibration samples: the mean of the rows, and M = X^T X / rows.

With them the error of another weight W' on the samples is known without running them again:
||X W^T - X W'^T||^2 / rows = trace((W - W') M (W - W')^T).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats, Integers
from compressctl.data.source import Batch, Source
from compressctl.errors import DataError
from compressctl.layers.inputs import LayerInputs
from compressctl.layers.linear import LinearLayer
from compressctl.layers.rows import Rows, input_rows, rows_key
from compressctl.numerics.low_rank import RowMoments
from compressctl.resources import Resources

_WIDEST = 2**29  # bytes of a layer's second moments: 8,192 inputs; solving for more takes minutes and gigabytes
_ROWS = 2**16  # of a layer, over all samples
_IRRATIONAL = 1.0 + math.sqrt(5) / 200  # row distances that share no factor with the rows of an image
_GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples spread evenly over the fractions
_CHUNK = 2**24  # elements copied out of an input at once
_BATCH_ELEMENTS, _LARGEST_BATCH = 2**16, 8


INNER = "it is in the body of a control flow node, where nothing is observed"


def observable(layer: LinearLayer) -> bool:
    """Whether what a layer reads can be seen, and its second moments be worked with: of 8,192 inputs at most."""
    groups, _, inputs = layer.shape
    return not layer.inner and 8 * groups * inputs**2 <= _WIDEST


def input_statistics(
    model: ir.Model,
    layers: Sequence[LinearLayer],
    source: Source,
    resources: Resources,
    *,
    samples: int,
    memory: int = 2**30,
) -> Iterator[tuple[LinearLayer, RowMoments]]:
    """Yield each layer with the moments of its input rows, float64, with a leading axis of groups, as in `matrix`.

    Layers that read the same rows share one object and follow each other; otherwise the order is that of `layers`. All
    rows count, or 65,536 spread evenly over the samples where there are more. The samples are run as often as it takes
    for the second moments to fit `memory`. The batch that pads a fixed-batch model counts like samples. The moments of
    a layer that no row reaches are zero, and so are those of one that reads zeros: they are `silent`.

    Args:
        model: left as it is.
        layers: of the main graph of `model`.
        source: the samples.
        resources: threads, work folder and progress: one tick a batch.
        samples: use at most this many, the first, rounded up to whole batches.
        memory: bytes of moments held at once; one layer's are held in any case.

    Raises:
        ModelError: onnxruntime cannot run the model.
        DataError: a layer reads NaN or infinity; data that do not fit; no samples.
    """
    readers: dict[tuple[Any, ...], list[LinearLayer]] = {}
    for layer in layers:
        readers.setdefault(rows_key(layer), []).append(layer)
    for run in _runs(list(readers.values()), memory):
        collected = _collect(model, [group[0] for group in run], source, resources, samples)
        for group in run:
            moments = collected.pop(group[0])
            yield from ((layer, moments) for layer in group)


def _runs(groups: list[list[LinearLayer]], memory: int) -> Iterator[list[list[LinearLayer]]]:
    """Cut the groups into consecutive runs whose moments fit the memory."""
    run: list[list[LinearLayer]] = []
    used = 0
    for group in groups:
        count, _, inputs = group[0].shape
        size = 8 * count * inputs**2
        if run and used + size > memory:
            yield run
            run, used = [], 0
        run.append(group)
        used += size
    if run:
        yield run


def _collect(
    model: ir.Model, layers: Sequence[LinearLayer], source: Source, resources: Resources, samples: int
) -> dict[LinearLayer, RowMoments]:
    inputs = LayerInputs(model, layers, resources)
    total = min(samples, len(source))
    batch_size = source.fixed_batch or min(fitting_batch(source), total)
    sums = {layer: _zeros(layer) for layer in layers}
    counts = dict.fromkeys(layers, 0)
    steps = math.ceil(total / batch_size)
    batches = source.some(batch_size, total)
    for number, batch in enumerate(resources.progress.track(batches, "observing layer inputs", steps)):
        for layer, value in inputs.read(batch.feeds).items():
            rows = input_rows(layer, value)
            numbers = spread(len(rows), _ROWS * batch.count / total, number)
            counts[layer] += len(numbers)
            _add(*sums[layer], rows, numbers)
    moments: dict[LinearLayer, RowMoments] = {}
    for layer, (second, mean) in sums.items():
        if not np.isfinite(second).all():
            raise DataError(f"{source.notation}: the layer {layer.name!r} reads NaN, infinity or values near it")
        for array in (second, mean):
            array /= max(counts[layer], 1)
        moments[layer] = RowMoments(second, mean, counts[layer])
    return moments


def _zeros(layer: LinearLayer) -> tuple[Floats, Floats]:
    groups, _, inputs = layer.shape
    return np.zeros((groups, inputs, inputs)), np.zeros((groups, inputs))


def fitting_batch(source: Source) -> int:
    """Return a batch size at which overhead is small and so is memory, judged by the first sample.

    Raises:
        DataError: there is none.
    """
    first: Batch | None = next(source.batches(1), None)
    if first is None:
        raise DataError(f"{source.notation}: no samples to observe layers on")
    elements = sum(feed.size for feed in first.feeds.values())
    return max(1, min(_LARGEST_BATCH, _BATCH_ELEMENTS // max(elements, 1)))


def spread(rows: int, wanted: float, batch: int) -> Integers:
    """Return the numbers of about `wanted` rows, spread evenly, with another phase in each batch; all if few."""
    if rows <= wanted:
        return np.arange(rows)
    step = rows / wanted * _IRRATIONAL
    return np.arange(step * (batch * _GOLDEN % 1.0), rows, step).astype(np.int64)


def _add(second: Floats, mean: Floats, rows: Rows, numbers: Integers) -> None:
    chunk = max(1, _CHUNK // mean.size)
    for start in range(0, len(numbers), chunk):
        taken = rows.take(numbers[start : start + chunk])
        with np.errstate(over="ignore", invalid="ignore"):  # said in one line at the end
            second += taken.swapaxes(1, 2) @ taken
            mean += taken.sum(axis=1, dtype=np.float64)
