"""SplitToSequence whose parts are picked one by one becomes Split, which has kernels for all types and known shapes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import constant, initializer, insert_before, operand
from compressctl.notes import Note, done
from compressctl.simplification.edit import bypass, is_op
from compressctl.simplification.facts import Facts


def remove_sequences(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    graph, notes = model.graph, []
    for node in tuple(graph):
        sizes = _sizes(node, facts) if is_op(node, "SplitToSequence") else None
        picks = _picks(node, len(sizes)) if sizes else None
        if sizes is None or picks is None:
            continue
        axis = node.attributes.get_int("axis", 0)
        parts = initializer(graph, f"{node.name}_sizes", np.array(sizes, np.int64))
        split = ir.node(
            "Split", [node.inputs[0], parts], attributes={"axis": axis}, num_outputs=len(sizes), name=node.name
        )
        insert_before(graph, node, [split])
        for user, index in picks.items():
            bypass(user, split.outputs[index])
        notes.append(done("SplitToSequence turned into Split", node.name))
    return notes


def _sizes(node: ir.Node, facts: Facts) -> list[int] | None:
    """Return the sizes of the parts along the axis, where they are known and the axis stays."""
    split, shape = constant(operand(node, 1)), facts.shape(node.inputs[0])
    if split is None or shape is None:
        return None
    if split.ndim:
        return [int(size) for size in split]
    total, part = shape[node.attributes.get_int("axis", 0)], int(split)
    return (
        [min(part, total - start) for start in range(0, total, part)] if isinstance(total, int) and part > 0 else None
    )


def _picks(node: ir.Node, count: int) -> dict[ir.Node, int] | None:
    """Return which part each user picks, where all users are SequenceAt with a constant position."""
    picks: dict[ir.Node, int] = {}
    for user in node.outputs[0].consumers():
        position = constant(operand(user, 1)) if is_op(user, "SequenceAt") and user.graph is node.graph else None
        if position is None or not -count <= int(position.item()) < count:
            return None
        picks[user] = int(position.item()) % count
    return None if node.outputs[0].is_graph_output() else picks
