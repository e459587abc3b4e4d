"""A model without its weights, for onnx's checker and shape inference, which copy all that they are given."""

from __future__ import annotations

import onnx
import onnx_ir as ir

LARGE = 1024
"""Bytes; smaller constants may carry shapes, which inference and the version converter look into."""


def skeleton(model: ir.Model) -> onnx.ModelProto:
    """Return the proto of `model` with graph inputs in the place of its large initializers; `model` is not touched.

    What only people read (texts, metadata) is left out.
    """
    proto = onnx.ModelProto(ir_version=model.ir_version)
    for domain, version in model.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    for function in model.functions.values():
        ir.serde.serialize_function_into(proto.functions.add(), function)
    graph, inputs = proto.graph, set(model.graph.inputs)
    graph.name = model.graph.name or ""
    for value in model.graph.inputs:
        ir.serde.serialize_value_into(graph.input.add(), value)
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None:
            continue
        if value not in inputs and tensor.nbytes > LARGE:
            _describe(graph.input.add(), value, tensor)
            continue
        tensor.name = value.name
        ir.serde.serialize_tensor_into(graph.initializer.add(), tensor)
        if value not in inputs:
            _describe(graph.value_info.add(), value)
    for node in model.graph:
        _add_node(graph.node.add(), node)
        for value in node.outputs:
            if value.name and not value.is_graph_output() and (value.type is not None or value.shape is not None):
                _describe(graph.value_info.add(), value)
    for value in model.graph.outputs:
        ir.serde.serialize_value_into(graph.output.add(), value)
    return proto


def _describe(info: onnx.ValueInfoProto, value: ir.Value, tensor: ir.TensorProtocol | None = None) -> None:
    """Write name, type and shape: those of what it holds, where that is given."""
    shape, kind = (value.shape, value.type) if tensor is None else (tensor.shape, ir.TensorType(tensor.dtype))
    if type(kind) is not ir.TensorType or kind.denotation:
        ir.serde.serialize_value_into(info, value)
        return
    info.name = value.name or ""
    written = info.type.tensor_type
    written.elem_type = kind.dtype.value
    if shape is None:
        return
    written.shape.SetInParent()
    for size in shape:
        dim = written.shape.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        elif size.value is not None:
            dim.dim_param = size.value


def _add_node(proto: onnx.NodeProto, node: ir.Node) -> None:
    proto.op_type, proto.name = node.op_type, node.name or ""
    if node.domain:
        proto.domain = node.domain
    if node.overload:
        proto.overload = node.overload
    proto.input.extend("" if value is None else value.name or "" for value in node.inputs)
    names = [value.name or "" for value in node.outputs]
    while names and not names[-1]:
        names.pop()
    proto.output.extend(names)
    for attribute in node.attributes.values():
        if attribute.is_ref():
            ir.serde.serialize_reference_attribute_into(proto.attribute.add(), attribute)
        else:
            ir.serde.serialize_attribute_into(proto.attribute.add(), attribute)
