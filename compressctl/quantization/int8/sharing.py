"""Let what feeds a Concat alone take the scale of its result: onnxruntime then copies bytes, and nothing rounds twice.

Not where an activation would be lost: a Relu, a Clip and a HardSigmoid are what saturation at the tensor's own bounds
does, so these share a scale only where the result of the Concat has the same bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from compressctl.quantization.int8.activations import after_activation, bounds, foldable


def shared_scales(
    graph: ir.Graph, scale_of: Mapping[ir.Value, ir.Value], joins: Sequence[ir.Node]
) -> dict[ir.Value, ir.Value]:
    """Return `scale_of` with the roots of what feeds each placed Concat replaced by that of its result.

    Args:
        graph: not edited.
        scale_of: quantized tensor -> the tensor that it has its scale and zero point from.
        joins: the placed nodes without weights, in graph order.
    """
    members: dict[ir.Value, list[ir.Value]] = {}  # of each root: what has its scale
    for value, root in scale_of.items():
        members.setdefault(root, []).append(value)
    shared = dict(scale_of)
    placed = set(joins)
    concats = [node for node in joins if node.op_type == "Concat"]
    within = bounds(graph) if concats else {}
    for node in concats:
        result = after_activation(node)
        for root in dict.fromkeys(shared[value] for value in node.inputs if value is not None):
            followed = {*members[root], result}
            alone = all(_feeds(value, placed, followed) for value in members[root])
            if alone and all(_may_widen(value, result, within) for value in members[root]):
                members[shared[result]] += members.pop(root)
                shared.update(dict.fromkeys(followed, shared[result]))
    return shared


def _feeds(value: ir.Value, placed: set[ir.Node], followed: set[ir.Value]) -> bool:
    """Whether a tensor goes nowhere but into nodes, all placed, that make the `followed` ones."""
    return not value.is_graph_output() and all(
        node in placed and (after_activation(node) in followed or any(out in followed for out in node.outputs))
        for node in value.consumers()
    )


def _may_widen(value: ir.Value, result: ir.Value, within: Mapping[ir.Value, tuple[float, float]]) -> bool:
    """Whether saturation at the bounds of `result` does what the activation behind `value` does."""
    producer = value.producer()
    if producer is None or not (foldable(producer) or producer.op_type == "HardSigmoid"):
        return True
    if result not in within:
        return False
    (low, high), (least, most) = within[value], within[result]
    return low <= least and most <= high
