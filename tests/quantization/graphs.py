"""Small models from ONNX text and arrays."""

import re
from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir


def model(body: str, arrays: Mapping[str, np.ndarray], x: str, y: str, opset: int = 17) -> ir.Model:
    """Return the graph `body` from inputs `x` to outputs `y`; the arrays it names become initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g ({x}) => ({y}) {{ {body} }}')
    used = {name: array for name, array in arrays.items() if re.search(rf"\b{name}\b", body)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in used.items())
    m = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    for index, node in enumerate(m.graph):
        node.name = node.name or f"{node.op_type}_{index}"
    return m
