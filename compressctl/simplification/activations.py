"""Activations written out with Max, Min and Clip become one Relu or one Clip, which onnxruntime fuses with layers.

Whatever bounds its input from below by 0: Max(x, 0) -> Relu; Min(Max(x, 0), 6), Clip(Relu(x), max=6) -> Clip(x, 0, 6).
HardSwish goes the other way, x * HardSigmoid(x): onnxruntime runs it so, and the quantizer knows both halves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import constant, initializer, is_only_use, operand
from compressctl.notes import Note, done
from compressctl.simplification.edit import add_before, become, is_op
from compressctl.simplification.facts import Facts


@dataclass(frozen=True)
class _Bounds:
    """min(max(source, low), high)."""

    source: ir.Value
    low: float
    high: float


def rewrite_activations(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    graph, notes = model.graph, []
    for node in tuple(graph):
        if is_op(node, "HardSwish"):
            gate = add_before(node, "HardSigmoid", [node.inputs[0]], f"{node.name}_gate")
            gate_node = gate.producer()
            assert gate_node is not None
            gate_node.attributes.add(ir.AttrFloat32("alpha", 1 / 6))
            become(node, "Mul", [node.inputs[0], gate])
            notes.append(done("HardSwish written out as its definition: both halves have integer kernels", node.name))
            continue
        bounds = _bounds(node, facts)
        if bounds is None:
            continue
        merged = _merge_above(node, bounds, facts)
        low, high, dtype = merged.low, merged.high, facts.dtype(merged.source)
        written_out = is_op(node, "Max", "Min") or (is_op(node, "Clip") and high == math.inf) or merged != bounds
        if low != 0 or high <= 0 or not written_out or dtype is None or not dtype.is_floating_point():
            continue
        if high == math.inf:
            become(node, "Relu", [merged.source])
        else:
            limits = {"min": low, "max": high}
            values = [initializer(graph, f"{node.name}_{k}", np.array(v, dtype.numpy())) for k, v in limits.items()]
            become(node, "Clip", [merged.source, *values])
        notes.append(done(f"{node.op_type} that was written out restored", node.name))
    return notes


def _merge_above(node: ir.Node, bounds: _Bounds, facts: Facts) -> _Bounds:
    """Return the bounds of `node` and of the node above it as one, where that is possible; else `bounds`."""
    above = bounds.source.producer()
    inner = None if above is None or not is_only_use(bounds.source, node) else _bounds(above, facts)
    if inner is None or bounds.low > inner.high or inner.low > bounds.high:
        return bounds
    return _Bounds(inner.source, max(bounds.low, inner.low), min(bounds.high, inner.high))


def _bounds(node: ir.Node, facts: Facts) -> _Bounds | None:
    source = node.inputs[0] if node.inputs else None
    if source is None or not is_op(node, "Relu", "Clip", "Max", "Min"):
        return None
    if is_op(node, "Relu"):
        return _Bounds(source, 0.0, math.inf)
    if is_op(node, "Clip"):
        low, high = _number(operand(node, 1), -math.inf, 0), _number(operand(node, 2), math.inf, 0)
        return None if low is None or high is None else _Bounds(source, low, high)
    for position in (1, 0) if len(node.inputs) == 2 else ():
        other = node.inputs[1 - position]
        bound = _number(node.inputs[position], None, facts.rank(other))
        if other is not None and bound is not None:
            return _Bounds(other, bound, math.inf) if is_op(node, "Max") else _Bounds(other, -math.inf, bound)
    return None


def _number(value: ir.Value | None, default: float | None, rank: int | None) -> float | None:
    """Return a constant of one element and at most `rank` dimensions; `default` if absent, None if it is not one."""
    if value is None:
        return default
    array = constant(value)
    return None if array is None or array.size != 1 or rank is None or array.ndim > rank else float(array.item())
