"""Mean magnitudes of activations along one axis, measured inside onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.data.source import Source
from compressctl.errors import DataError
from compressctl.measure.session import Session
from compressctl.model.graph import initializer, remove_dead
from compressctl.resources import Resources
from compressctl.structure.shapes import Shapes

_BATCH = 8


def mean_magnitudes(
    model: ir.Model, axes: Mapping[str, int], source: Source, resources: Resources
) -> dict[str, Floats]:
    """Return the mean of |activation| at each position along an axis, over the samples, [size of the axis] by name.

    Batches in which a value has no elements do not count; a value that never has any gets zeros. Only the means leave
    onnxruntime, so memory grows with neither the samples nor the activations.

    Args:
        model: left as it is.
        axes: the axis to keep, by name of a value of the main graph; the value's rank must be known.
        source: the samples; rows that pad a fixed batch count like the sample that they repeat.
        resources: threads, work folder, and progress: one tick a batch.

    Raises:
        DataError: an activation becomes NaN or infinite; no samples at all.
    """
    observed = model.clone()
    outputs = _observe_axes(observed, axes)
    session = Session(observed, threads=resources.threads, workdir=resources.workdir, spinning="never")
    size = source.fixed_batch or _BATCH
    sums: dict[str, Floats] = {}
    rows, counts = 0, dict.fromkeys(axes, 0)
    for batch in resources.progress.track(source.batches(size), "measure activations", -(-len(source) // size)):
        results = session.run(batch.feeds)
        for name, (output, size_output) in outputs.items():
            mean = results[output].astype(np.float64)
            if not results[size_output]:
                sums.setdefault(name, np.zeros_like(mean))
                continue
            if not np.isfinite(mean).all():
                raise DataError(f"{source.notation}: tensor {name!r} is not finite on calibration samples")
            sums[name] = mean * batch.count + sums.get(name, 0)
            counts[name] += batch.count
        rows += batch.count
    if not rows:
        raise DataError(f"{source.notation}: no samples to measure activations on")
    return {name: total / max(counts[name], 1) for name, total in sums.items()}


def _observe_axes(model: ir.Model, axes: Mapping[str, int]) -> dict[str, tuple[str, str]]:
    """Make the means, and the numbers of elements, the model's only outputs; return their names."""
    graph, shapes = model.graph, Shapes(model)
    values = {value.name: value for node in graph for value in node.outputs} | {v.name: v for v in graph.inputs}
    graph.outputs.clear()
    outputs = {}
    for name, axis in axes.items():
        value = values[name]
        sizes = shapes.of(value)
        assert sizes is not None, f"the rank of {name} is not known"
        others = [i for i in range(len(sizes)) if i != axis % len(sizes)]
        real = value
        if value.dtype != ir.DataType.FLOAT:
            real = _append(graph, "Cast", [value], to=ir.DataType.FLOAT)
        magnitude = _append(graph, "Abs", [real])
        if model.opset_imports.get("", 0) >= 18:
            where = initializer(graph, f"{name}_axes", np.array(others, np.int64))
            mean = _append(graph, "ReduceMean", [magnitude, where], keepdims=0, noop_with_empty_axes=1)
        else:
            mean = _append(graph, "ReduceMean", [magnitude], axes=others, keepdims=0) if others else magnitude
        mean.type = ir.TensorType(ir.DataType.FLOAT)
        elements = _append(graph, "Size", [value])
        elements.type = ir.TensorType(ir.DataType.INT64)
        graph.outputs.extend((mean, elements))
        outputs[name] = mean.name or "", elements.name or ""
    remove_dead(model)
    return outputs


def _append(graph: ir.Graph, op_type: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
    node = ir.node(op_type, inputs, attributes=attributes)
    graph.append(node)
    return node.outputs[0]
