"""Reshapes in a row become one, or none; a Reshape to two dimensions that keeps the first becomes Flatten.

Reshape, Flatten, Squeeze, Unsqueeze and a Transpose that only moves dimensions of size 1 are views: none changes the
order of the elements, so only the last shape counts. Squeeze and Unsqueeze pairs are left as they are unless they
cancel: onnxruntime looks for them where it fuses attention masks.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import initializer, is_only_use
from compressctl.model.ops import VIEWS
from compressctl.notes import Note, done
from compressctl.simplification.edit import become, bypass, is_op
from compressctl.simplification.facts import Facts
from compressctl.simplification.shape_arithmetic import reshape_target

_RESHAPES = ("Reshape", "Flatten")


def merge_reshapes(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    notes = []
    for node in tuple(model.graph):
        if not _is_view(node, facts):
            continue
        if _merge_with_view_above(model.graph, node, facts):
            notes.append(done("views in a row made one", node.name))
        elif is_op(node, "Reshape") and _flattens(node, node.inputs[0], facts):
            become(node, "Flatten", [node.inputs[0]], axis=1)
            notes.append(done("Reshape that flattens turned into Flatten", node.name))
    return notes


def _is_view(node: ir.Node, facts: Facts) -> bool:
    if not is_op(node, *VIEWS):
        return False
    if node.op_type != "Transpose":
        return True
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return False
    perm = node.attributes.get_ints("perm", tuple(reversed(range(len(shape)))))
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def _merge_with_view_above(graph: ir.Graph, node: ir.Node, facts: Facts) -> bool:
    above = node.inputs[0].producer() if node.inputs[0] is not None else None
    if above is None or not _is_view(above, facts):
        return False
    source, output = above.inputs[0], node.outputs[0]
    if source is None:
        return False
    if facts.same_shape(source, output):
        return bypass(node, source)
    reshapes = is_op(node, *_RESHAPES) or is_op(above, *_RESHAPES)
    if not reshapes or not is_only_use(above.outputs[0], node):
        return False
    if _flattens(node, source, facts):
        become(node, "Flatten", [source], axis=1)
        return True
    shape = facts.shape(output)
    target = None if shape is None or 0 in shape else reshape_target(shape, facts.shape(source))
    if target is None:
        return False
    become(node, "Reshape", [source, initializer(graph, f"{node.name}_shape", np.array(target, np.int64))])
    return True


def _flattens(node: ir.Node, source: ir.Value | None, facts: Facts) -> bool:
    """Whether the output of `node` is `source` with all dimensions but the first made one."""
    shape, before = facts.shape(node.outputs[0]), facts.shape(source)
    if shape is None or before is None or len(shape) != 2 or len(before) < 3:
        return False
    return shape[0] is not None and shape[0] == before[0]
