"""The constants that groups are cut out of."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from compressctl.structure.groups import Weight


def tensors(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Return the constants of the main graph, by name of the initializer or of the Constant node's output."""
    values = [*model.graph.initializers.values()]
    values += [node.outputs[0] for node in model.graph if node.op_type == "Constant" and not node.domain]
    found = ((value.name or "", ir.convenience.get_const_tensor(value)) for value in values)
    return {name: tensor for name, tensor in found if tensor is not None}


def distinct(weights: Iterable[Weight], *roles: str) -> list[Weight]:
    """Return the weights in one of the roles; the axis of a tensor once, however many nodes use it."""
    return list({(weight.name, weight.axis): weight for weight in weights if weight.role in roles}.values())
