"""Several nodes that are one torch function: quantize-dequantize pairs, linear layers, Gelu.

Nodes of a match whose values are used elsewhere, too, run as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import torch.nn.functional as F
from torch import Tensor

from compressctl.model.graph import constant, operand
from compressctl.torchexec.fake_quantize import binarize, fake_quantize

_RANGES = {
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT16: (0, 65535),
    ir.DataType.INT16: (-32768, 32767),
}


@dataclass(frozen=True)
class Fused:
    """A torch function in the place of a node and of nodes before it.

    Attributes:
        function: gives the node's only output.
        inputs: the values that it takes.
        keywords: its further arguments.
        absorbed: the nodes before it that need not run for it.
    """

    function: Callable[..., Tensor]
    inputs: tuple[ir.Value | None, ...]
    keywords: dict[str, Any] = field(default_factory=dict)
    absorbed: tuple[ir.Node, ...] = ()


def find_fused(graph: ir.Graph, kept: Collection[str]) -> tuple[dict[ir.Node, Fused], set[ir.Node]]:
    """Return the last node of each match with what replaces it, and the nodes that need not run then.

    Args:
        graph: left as it is.
        kept: names of values that must be computed, whether used or not.
    """
    fused: dict[ir.Node, Fused] = {}
    for node in graph:
        matcher = _MATCHERS.get(node.op_type)
        match = matcher(node, kept) if matcher is not None and node.domain == "" else None
        if match is not None and not any(inner in fused for inner in match.absorbed):
            fused[node] = match
    absorbed = {node for one in fused.values() for node in one.absorbed}
    idle: set[ir.Node] = set()
    for node in reversed(graph):
        if node in absorbed and not any(_is_needed(value, kept, fused, idle) for value in node.outputs):
            idle.add(node)
    return fused, idle


def _is_needed(
    value: ir.Value, kept: Collection[str], fused: Mapping[ir.Node, Fused], idle: Collection[ir.Node]
) -> bool:
    """Whether a value that an absorbed node makes is returned, or read by a node that runs."""
    running = (user for user in value.consumers() if user not in idle)
    read = any(user not in fused or value in fused[user].inputs for user in running)
    return read or value.is_graph_output() or value.name in kept


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x @ weight + bias; `weight` is [inputs, outputs]."""
    return F.linear(x, weight.t(), bias)


def _linear(node: ir.Node, kept: Collection[str]) -> Fused | None:
    """MatMul(x, W [K, N]) -> Add(·, b [N])."""
    for product, bias in _either(node):
        matmul = _sole_producer(product, "MatMul", kept)
        if matmul is None or bias is None:
            continue
        x, weight = matmul.inputs
        if _rank(weight) == 2 and _rank(bias) == 1 and (_rank(x) or 0) >= 2 and _is_parameter(bias):
            assert weight is not None and weight.shape is not None and bias.shape is not None
            if weight.shape[1] == bias.shape[0]:
                return Fused(linear, (x, weight, bias), {}, (matmul,))
    return None


def _gelu(node: ir.Node, kept: Collection[str]) -> Fused | None:
    """x * (1 + erf(x / sqrt 2)) * 0.5, in the orders that exporters write it."""
    for half, product in _either(node):  # 0.5 * (x * (1 + erf))
        if _is(half, 0.5) and (inner := _sole_producer(product, "Mul", kept)) is not None:
            for x, shifted in _either(inner):
                erf = _shifted_erf(shifted, x, kept)
                if erf is not None:
                    return Fused(F.gelu, (x,), {}, (inner, *erf))
    for halved, shifted in _either(node):  # (0.5 * x) * (1 + erf), or x * (0.5 * (1 + erf))
        inner = _sole_producer(halved, "Mul", kept)
        for x, half in _either(inner) if inner is not None else ():
            if _is(half, 0.5) and (erf := _shifted_erf(shifted, x, kept)) is not None:
                return Fused(F.gelu, (x,), {}, (inner, *erf))  # type: ignore[arg-type]
            if _is(half, 0.5) and (erf := _shifted_erf(x, shifted, kept)) is not None:
                return Fused(F.gelu, (shifted,), {}, (inner, *erf))  # type: ignore[arg-type]
    return None


def _shifted_erf(value: ir.Value | None, x: ir.Value | None, kept: Collection[str]) -> tuple[ir.Node, ...] | None:
    """Return the nodes of 1 + erf(x / sqrt 2)."""
    add = _sole_producer(value, "Add", kept)
    for one, result in _either(add) if add is not None else ():
        erf = _sole_producer(result, "Erf", kept)
        scaled = erf.inputs[0] if erf is not None else None
        if not _is(one, 1.0) or erf is None or scaled is None:
            continue
        divide, multiply = _sole_producer(scaled, "Div", kept), _sole_producer(scaled, "Mul", kept)
        assert add is not None
        if divide is not None and divide.inputs[0] is x and _is(divide.inputs[1], math.sqrt(2)):
            return add, erf, divide
        for source, factor in _either(multiply) if multiply is not None else ():
            if source is x and _is(factor, math.sqrt(0.5)):
                assert multiply is not None
                return add, erf, multiply
    return None


def _fake_quantize(node: ir.Node, kept: Collection[str]) -> Fused | None:
    """QuantizeLinear [-> Clip] -> DequantizeLinear with one scale and zero point, or its 1-bit form."""
    integers, scale = node.inputs[0], node.inputs[1]
    zero_point = operand(node, 2)
    if integers is None or scale is None or node.attributes.get_int("block_size", 0) != 0:
        return None
    if scale.dtype not in (None, ir.DataType.FLOAT):
        return None
    before = integers.producer()
    if before is not None and before.op_type == "Where":
        return _binarize(node, before, scale, kept)
    clip = before if before is not None and before.op_type == "Clip" else None
    source = clip.inputs[0] if clip is not None else integers
    quantize = source.producer() if source is not None else None
    if quantize is None or quantize.op_type != "QuantizeLinear" or quantize.inputs[1] is not scale:
        return None
    given = operand(quantize, 2)
    if given is not zero_point and not _same_constant(given, zero_point):
        return None
    axis = quantize.attributes.get_int("axis", 1)
    if axis != node.attributes.get_int("axis", 1) or quantize.attributes.get_int("block_size", 0) != 0:
        return None
    dtype = zero_point.dtype if zero_point is not None else ir.DataType.UINT8
    zeros = np.zeros(1) if zero_point is None else constant(zero_point)
    if dtype not in _RANGES or zeros is None or zeros.min() != zeros.max():
        return None
    low, high = _RANGES[dtype]
    if clip is not None:
        bounds = [constant(value) for value in clip.inputs[1:3]]
        if len(bounds) < 2 or bounds[0] is None or bounds[1] is None:
            return None
        low, high = max(low, int(bounds[0])), min(high, int(bounds[1]))
    return Fused(
        fake_quantize,
        (quantize.inputs[0], scale),
        {"low": low - int(zeros.min()), "high": high - int(zeros.min()), "axis": axis},
        (quantize,) if clip is None else (clip, quantize),
    )


def _binarize(node: ir.Node, where: ir.Node, scale: ir.Value, kept: Collection[str]) -> Fused | None:
    """Where(GreaterOrEqual(W, 0), 1, -1) -> DequantizeLinear."""
    condition, positive, negative = where.inputs
    test = _sole_producer(condition, "GreaterOrEqual", kept)
    zero_point = constant(operand(node, 2))
    if test is None or not (_is(test.inputs[1], 0.0) and _is(positive, 1) and _is(negative, -1)):
        return None
    if zero_point is not None and zero_point.any():
        return None
    if _sole_producer(node.inputs[0], "Where", kept) is None:
        return None
    axis = node.attributes.get_int("axis", 1)
    return Fused(binarize, (test.inputs[0], scale), {"axis": axis}, (test, where))


_MATCHERS = {"Add": _linear, "Mul": _gelu, "DequantizeLinear": _fake_quantize}


def _either(node: ir.Node) -> Iterator[tuple[ir.Value | None, ir.Value | None]]:
    first, second = node.inputs
    yield first, second
    yield second, first


def _sole_producer(value: ir.Value | None, op_type: str, kept: Collection[str]) -> ir.Node | None:
    """Return the node of that type which makes `value`, if nothing but one node reads it."""
    node = value.producer() if value is not None else None
    if value is None or node is None or node.op_type != op_type or node.domain != "":
        return None
    if len(value.uses()) != 1 or value.is_graph_output() or value.name in kept:
        return None
    return node


def _is(value: ir.Value | None, number: float) -> bool:
    array = constant(value)
    return array is not None and array.size == 1 and math.isclose(float(array.reshape(())), number, rel_tol=1e-5)


def _is_parameter(value: ir.Value) -> bool:
    return value.is_initializer() or constant(value) is not None


def _same_constant(first: ir.Value | None, second: ir.Value | None) -> bool:
    a, b = constant(first), constant(second)
    return a is not None and b is not None and a.dtype == b.dtype and bool((a == b).all())


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else value.shape.rank()
