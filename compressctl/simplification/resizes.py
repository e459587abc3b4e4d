"""Resize to sizes computed at run time becomes Resize by constant scales, where all ratios are known and exact.

Decoders resize to the shape of another tensor, of which only the batch is dynamic.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import constant, initializer, operand
from compressctl.notes import Note, done
from compressctl.simplification.edit import is_op
from compressctl.simplification.facts import Facts


def simplify_resizes(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    notes = []
    for node in model.graph:
        scales = _scales(node, facts) if is_op(node, "Resize") else None
        if scales is not None:
            node.replace_input_with(2, initializer(model.graph, f"{node.name}_scales", scales))
            node.resize_inputs(3)
            notes.append(done("sizes of Resize turned into constant scales", node.name))
    return notes


def _scales(node: ir.Node, facts: Facts) -> Array | None:
    """Return the scales that give the same sizes, and the same positions in between, or None."""
    sizes, shape = facts.contents(operand(node, 3)), facts.shape(node.inputs[0])
    if sizes is None or shape is None or constant(operand(node, 3)) is not None or len(sizes) != len(shape):
        return None
    if "axes" in node.attributes or node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    scales = []
    for size, dim in zip(sizes, shape, strict=True):
        if isinstance(size, int) and isinstance(dim, int) and dim:
            scale = np.float32(size / dim)
            if float(scale) * dim != size:
                return None
            scales.append(scale)
        elif size is not None and size == dim:
            scales.append(np.float32(1))
        else:
            return None
    return np.array(scales, np.float32)
