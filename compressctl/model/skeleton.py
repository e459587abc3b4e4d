"""A model without its weights, for onnx's checker and shape inference, which copy all that they are given."""

from __future__ import annotations

import onnx
import onnx_ir as ir

_LARGE = 1024  # bytes; smaller constants may carry shapes, which inference needs


def skeleton(model: ir.Model) -> onnx.ModelProto:
    """Return the proto of `model` with graph inputs in the place of its large initializers; `model` is not touched."""
    copy = model.clone()
    for name, value in list(copy.graph.initializers.items()):
        tensor = value.const_value
        if tensor is not None and tensor.nbytes > _LARGE and not value.is_graph_input():
            del copy.graph.initializers[name]
            value.const_value = None
            value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
            copy.graph.inputs.append(value)
    proto: onnx.ModelProto = ir.to_proto(copy)
    return proto
