"""Means over all spatial positions become GlobalAveragePool, which onnxruntime runs on integers too.

ReduceMean over the axes 2 and 3 of four (followed by Flatten where it drops them), and AveragePool whose window is the
whole image.
"""

from __future__ import annotations

import onnx_ir as ir

from compressctl.notes import Note, done
from compressctl.simplification.edit import add_before, become, ints, is_op
from compressctl.simplification.facts import Facts


def simplify_pooling(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    notes = []
    for node in tuple(model.graph):
        source = node.inputs[0] if node.inputs else None
        if facts.rank(source) != 4:
            continue
        if is_op(node, "ReduceMean") and _is_spatial(node):
            notes.append(done("spatial ReduceMean turned into GlobalAveragePool", node.name))
            if node.attributes.get_int("keepdims", 1):
                become(node, "GlobalAveragePool", [source])
            else:
                pooled = add_before(node, "GlobalAveragePool", [source], f"{node.name}_pool")
                become(node, "Flatten", [pooled], axis=1)
        elif is_op(node, "AveragePool") and _covers_all(node, facts):
            become(node, "GlobalAveragePool", [source])
            notes.append(done("AveragePool over the whole image turned into GlobalAveragePool", node.name))
    return notes


def _is_spatial(node: ir.Node) -> bool:
    axes = ints(node, "axes", 1)
    return axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]


def _covers_all(node: ir.Node, facts: Facts) -> bool:
    shape = facts.shape(node.inputs[0])
    kernel = node.attributes.get_ints("kernel_shape", ())
    padded = any(node.attributes.get_ints("pads", ())) or "SAME" in node.attributes.get_string("auto_pad", "NOTSET")
    dilated = any(d != 1 for d in node.attributes.get_ints("dilations", ()))
    return shape is not None and shape[2:] == tuple(kernel) and not padded and not dilated
