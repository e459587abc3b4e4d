"""Pad with zeros moves into the convolution or pooling that follows.

Conv and AveragePool (which then counts the padding) take zeros. MaxPool pads with minus infinity: it takes a Pad with
minus infinity, or one with zeros where the input is never negative.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import constant, operand
from compressctl.model.ops import AVERAGES, NON_NEGATIVE
from compressctl.notes import Note, done, skipped
from compressctl.simplification.edit import is_op, other_outputs_unused, producer
from compressctl.simplification.facts import Facts

_LAYERS = ("Conv", "AveragePool", "MaxPool")
_KEEPS_SIGN = AVERAGES | {"MaxPool", "Transpose", "Concat", "Add", "Mul"}
_DEPTH = 8


def fold_pads(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    notes = []
    for node in tuple(model.graph):
        pad = producer(node.inputs[0], "Pad") if is_op(node, *_LAYERS) else None
        if pad is None:
            continue
        reason = _fold(pad, node, facts)
        if reason is None:
            notes.append(done(f"Pad folded into {node.op_type}", node.name))
        else:
            notes.append(skipped(f"Pad kept before {node.op_type}: {reason}", pad.name))
    return notes


def _fold(pad: ir.Node, layer: ir.Node, facts: Facts) -> str | None:
    """Fold `pad` into `layer` and return None, or return why not."""
    if pad.attributes.get_string("mode", "constant") != "constant":
        return f"its mode is {pad.attributes.get_string('mode')}"
    rank = facts.rank(pad.inputs[0])
    if rank is None:
        return "the rank of its input is unknown"
    pads = _spatial_pads(pad, rank)
    if pads is None:
        return "its pads are not constants, or negative, or not of the spatial dimensions only"
    auto_pad = layer.attributes.get_string("auto_pad", "NOTSET")
    if auto_pad not in ("NOTSET", "VALID"):
        return "that pads automatically"
    own = layer.attributes.get_ints("pads", ()) if auto_pad == "NOTSET" else ()
    total = [a + b for a, b in zip(pads, own or [0] * len(pads), strict=True)]
    value = _value(pad)
    if is_op(layer, "Conv"):
        if value != 0:
            return "it does not pad with zeros"
    else:
        reason = _pooling_problem(pad, layer, value, total)
        if reason is not None:
            return reason
        if is_op(layer, "AveragePool"):
            if any(own) and not layer.attributes.get_int("count_include_pad", 0):
                return "that does not count its own padding"
            layer.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
    layer.attributes.pop("auto_pad", None)
    layer.attributes["pads"] = ir.AttrInt64s("pads", total)
    layer.replace_input_with(0, pad.inputs[0])
    return None


def _spatial_pads(pad: ir.Node, rank: int) -> list[int] | None:
    """Return the begin and end pads of the spatial dimensions, or None where there are others, or negative ones."""
    pads, axes = constant(operand(pad, 1)), operand(pad, 3)
    places = np.arange(rank) if axes is None else constant(axes)
    if pads is None or places is None:
        return None
    full = np.zeros((2, rank), np.int64)
    full[:, places] = pads.reshape(2, -1)
    if full[:, :2].any() or (full < 0).any():
        return None
    return [int(size) for size in full[:, 2:].reshape(-1)]


def _value(pad: ir.Node) -> float | None:
    """Return the number that `pad` pads with, or None where it is not a constant."""
    value = operand(pad, 2)
    if value is None:
        return 0.0
    array = constant(value)
    return None if array is None or array.size != 1 else float(array.item())


def _pooling_problem(pad: ir.Node, layer: ir.Node, value: float | None, total: list[int]) -> str | None:
    """Return why `layer`, a pooling, cannot take over `pad`, or None."""
    kernel = layer.attributes.get_ints("kernel_shape", ())
    if layer.attributes.get_int("ceil_mode", 0) or any(d != 1 for d in layer.attributes.get_ints("dilations", ())):
        return "that has dilations or rounds its output size up"
    if any(size >= k for size, k in zip(total, (*kernel, *kernel), strict=True)):
        return "it is as wide as the window"
    if is_op(layer, "AveragePool"):
        return None if value == 0 else "it does not pad with zeros"
    if not other_outputs_unused(layer):
        return "the indices of that are used"
    if value is not None and value <= np.finfo(np.float32).min:
        return None
    if value == 0 and _never_negative(pad.inputs[0], _DEPTH):
        return None
    return "MaxPool pads with minus infinity, and the input may be negative"


def _never_negative(value: ir.Value | None, depth: int) -> bool:
    node = value.producer() if value is not None else None
    if node is None or depth == 0:
        array = constant(value) if depth else None
        return array is not None and array.size > 0 and bool((array >= 0).all())
    if is_op(node, *NON_NEGATIVE):
        return True
    if is_op(node, "Clip"):
        low = constant(operand(node, 1))
        return low is not None and low.size == 1 and bool(low.item() >= 0)
    return is_op(node, *_KEEPS_SIGN) and all(_never_negative(source, depth - 1) for source in node.inputs)
