"""A Slice of a Slice becomes one Slice, where they cut different axes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import constant, initializer, is_only_use, operand
from compressctl.notes import Note, done
from compressctl.simplification.edit import become, is_op, producer
from compressctl.simplification.facts import Facts


def merge_slices(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    graph, notes = model.graph, []
    for node in tuple(graph):
        above = producer(node.inputs[0], "Slice") if is_op(node, "Slice") else None
        if above is None or not is_only_use(above.outputs[0], node):
            continue
        rank = facts.rank(above.inputs[0])
        first, second = _parameters(above, rank), _parameters(node, rank)
        if first is None or second is None or set(first[2]) & set(second[2]):
            continue
        both = [np.concatenate(parts).astype(np.int64) for parts in zip(first, second, strict=True)]
        names = ("starts", "ends", "axes", "steps")
        values = [initializer(graph, f"{node.name}_{name}", array) for name, array in zip(names, both, strict=True)]
        become(node, "Slice", [above.inputs[0], *values])
        notes.append(done("Slice of a Slice made one", node.name))
    return notes


def _parameters(node: ir.Node, rank: int | None) -> tuple[Array, Array, Array, Array] | None:
    """Return starts, ends, axes (from 0) and steps, or None where they are not constants."""
    starts, ends = constant(operand(node, 1)), constant(operand(node, 2))
    if rank is None or starts is None or ends is None:
        return None
    axes = np.arange(starts.size) if operand(node, 3) is None else constant(operand(node, 3))
    steps = np.ones(starts.size, np.int64) if operand(node, 4) is None else constant(operand(node, 4))
    return None if axes is None or steps is None else (starts, ends, axes % rank, steps)
