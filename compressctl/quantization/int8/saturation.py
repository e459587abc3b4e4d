"""Simulate, on calibration samples, which layers would saturate on x86 without VNNI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.source import Source
from compressctl.measure.session import Session
from compressctl.model.graph import constant
from compressctl.notes import Note, warning
from compressctl.numerics.im2col import windows
from compressctl.numerics.qparams import affine, quantize, symmetric
from compressctl.numerics.saturation import Saturation, saturation
from compressctl.quantization.int8.static import output_axis
from compressctl.resources import Resources

_SAMPLES = 4
_ROWS = 256  # output positions looked at, of each layer


def simulate(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    ranges: Mapping[str, tuple[float, float]],
    source: Source,
    resources: Resources,
    *,
    per_channel: bool,
) -> dict[str, Saturation]:
    """Return node name -> what saturation does to it, on a few samples and output positions drawn at random.

    Args:
        model: the float model; not edited.
        nodes: its Conv, Gemm and MatMul nodes that will be quantized with 8-bit weights.
        ranges: (low, high) of their inputs, by name.
        source: calibration samples.
        resources: threads, work folder, and the seed of the positions drawn.
        per_channel: whether weights have a scale an output channel.
    """
    rng = np.random.default_rng(resources.seed)
    inputs = _inputs(model, nodes, source, resources)
    found = {}
    for node in nodes:
        weight, name = constant(node.inputs[1]), _input_name(node)
        assert weight is not None
        qparams = affine(*ranges[name], name=name)
        x = quantize(inputs[name], qparams)
        axis = output_axis(node)
        w = quantize(weight, symmetric(weight, axis if per_channel else None))
        zero_point = int(qparams.zero_point)
        if not x.size:
            continue  # none of these samples reaches the layer
        if node.op_type == "Conv":
            rows, columns = _unfolded(node, x, w, zero_point, rng)
        else:
            rows, columns = x.reshape(-1, x.shape[-1]), np.moveaxis(w, axis, -1)
            rows = rows[rng.integers(0, len(rows), min(_ROWS, len(rows)))]
        found[node.name or ""] = saturation(rows.astype(np.uint8), columns.astype(np.int8), zero_point)
    return found


def saturation_notes(found: Mapping[str, Saturation]) -> list[Note]:
    """Return a warning for each layer that saturates."""
    return [
        warning(
            f"{100 * one.share:.2g} % of its sums saturate without VNNI (noise {100 * one.noise:.2g} %); "
            "--reduced-range avoids that",
            name,
        )
        for name, one in found.items()
        if one.share > 0
    ]


def _inputs(model: ir.Model, nodes: Sequence[ir.Node], source: Source, resources: Resources) -> dict[str, Array]:
    clone = model.clone()
    names = {_input_name(node) for node in nodes}
    feeds = next(iter(source.batches(_SAMPLES))).feeds
    for value in (value for node in clone.graph for value in node.outputs):
        if value.name in names and not value.is_graph_output():
            value.type = ir.TensorType(ir.DataType.FLOAT)  # clones share type objects
            clone.graph.outputs.append(value)
    results = Session(clone, threads=resources.threads, workdir=resources.workdir).run(feeds)
    return {name: feeds[name] if name in feeds else results[name] for name in names}


def _input_name(node: ir.Node) -> str:
    value = node.inputs[0]
    return (value.name if value is not None else None) or ""


def _unfolded(node: ir.Node, x: Array, w: Array, zero_point: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return patches [rows, kernel * channels] and weight [kernel * channels, outputs] of a group, channels inmost."""
    kernel = w.shape[2:]
    spatial = len(kernel)
    strides = node.attributes.get_ints("strides", [1] * spatial)
    dilations = node.attributes.get_ints("dilations", [1] * spatial)
    pads = node.attributes.get_ints("pads", [0] * 2 * spatial)
    group = node.attributes.get_int("group", 1)
    channels, outputs = w.shape[1], w.shape[0] // group
    one = int(rng.integers(group))
    part = x[:, one * channels : (one + 1) * channels]
    seen = windows(part, kernel, strides, dilations, pads, fill=zero_point)
    patches = np.moveaxis(seen, 1 + spatial, -1)  # [N, *out, C, *kernel] -> [N, *out, *kernel, C]
    positions = [rng.integers(0, size, _ROWS) for size in patches.shape[: 1 + spatial]]
    rows = patches[tuple(positions)].reshape(_ROWS, -1)
    columns = np.moveaxis(w[one * outputs : (one + 1) * outputs], (0, 1), (-1, -2)).reshape(-1, outputs)
    return rows, columns
