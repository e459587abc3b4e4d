"""Putting the factors of a weight into the graph, in the place of the layers that use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from compressctl.choices import FactorMethod
from compressctl.factorization.forms import Factors
from compressctl.layers.linear import LinearLayer
from compressctl.model.graph import initializer, replace_node

_SUFFIXES: dict[FactorMethod, tuple[str, ...]] = {
    "svd": ("down", "up"),
    "spatial": ("column", "row"),
    "tucker": ("first", "core", "last"),
}


def replace(graph: ir.Graph, layers: Sequence[LinearLayer], factors: Factors) -> None:
    """Replace `layers`, which share one weight and its form, by the sequence of `factors`; these are stored once.

    Biases stay with the last node of each sequence, which bears the names of the outputs. The weight stays in `graph`
    until `remove_dead`.
    """
    suffixes = _SUFFIXES[factors.method]
    stem = layers[0].weight.name or layers[0].name
    values = [
        initializer(graph, f"{stem}_{suffix}", weight) for suffix, weight in zip(suffixes, factors.weights, strict=True)
    ]
    for layer in layers:
        nodes = _sequence(layer, factors.method, values)
        for node, suffix in zip(nodes, suffixes, strict=True):
            node.name = f"{layer.name}_{suffix}"
        for node in nodes[:-1]:
            node.outputs[0].name = f"{node.name}_output"
            node.outputs[0].type = layer.node.outputs[0].type
        replace_node(graph, layer.node, nodes)


def _sequence(layer: LinearLayer, method: FactorMethod, values: Sequence[ir.Value]) -> list[ir.Node]:
    if layer.node.op_type == "Conv":
        return _convolutions(layer, method, values)
    return _gemms(layer, values) if layer.node.op_type == "Gemm" else _products(layer, values)


def _products(layer: LinearLayer, values: Sequence[ir.Value]) -> list[ir.Node]:
    nodes: list[ir.Node] = []
    x = layer.input
    for value in values:
        nodes.append(ir.node("MatMul", [x, value] if layer.weight_index == 1 else [value, x]))
        x = nodes[-1].outputs[0]
    return nodes


def _gemms(layer: LinearLayer, values: Sequence[ir.Value]) -> list[ir.Node]:
    """The first one transposes the input, the last one scales and adds the bias."""
    down, up = values
    old = layer.node.attributes
    both = {"transB": old.get_int("transB", 0)}
    first = ir.node("Gemm", [layer.input, down], {**both, "transA": old.get_int("transA", 0)})
    scales = {key: old.get_float(key, 1.0) for key in ("alpha", "beta")}
    return [first, ir.node("Gemm", [first.outputs[0], up, *layer.node.inputs[2:]], {**both, **scales})]


def _convolutions(layer: LinearLayer, method: FactorMethod, values: Sequence[ir.Value]) -> list[ir.Node]:
    """One convolution a factor; each takes stride, dilation and padding along the axes where its kernel has a size."""
    nodes: list[ir.Node] = []
    x = layer.input
    kernel = layer.weight_shape[2:]
    axes: dict[FactorMethod, list[tuple[int, ...]]] = {  # the axes of the kernel that each factor spans
        "svd": [tuple(range(len(kernel))), ()],
        "spatial": [(0,), (1,)],
        "tucker": [(), tuple(range(len(kernel))), ()],
    }
    for value, spanned in zip(values, axes[method], strict=True):
        last = value is values[-1]
        bias = layer.node.inputs[2:] if last else ()
        nodes.append(ir.node("Conv", [x, value, *bias], _geometry(layer.node, kernel, spanned)))
        x = nodes[-1].outputs[0]
    return nodes


def _geometry(node: ir.Node, kernel: tuple[int, ...], spanned: tuple[int, ...]) -> dict[str, Any]:
    """Return the attributes of a convolution that spans some of the axes of `node`, as wide as it, and 1 of others."""
    rank, old = len(kernel), node.attributes
    pads = old.get_ints("pads", (0,) * 2 * rank)
    values = {
        "kernel_shape": kernel,
        "strides": old.get_ints("strides", (1,) * rank),
        "dilations": old.get_ints("dilations", (1,) * rank),
    }
    attributes: dict[str, Any] = {
        key: [value[axis] if axis in spanned else 1 for axis in range(rank)] for key, value in values.items()
    }
    auto_pad = old.get_string("auto_pad", "NOTSET")
    if auto_pad == "NOTSET":
        attributes["pads"] = [pads[i] if i % rank in spanned else 0 for i in range(2 * rank)]
    else:  # of a kernel of 1 it adds nothing
        attributes["auto_pad"] = auto_pad
    return attributes
