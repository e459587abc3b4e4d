"""MatMul of a matrix and the Add of a constant row behind it become Gemm, as onnxruntime makes of them at load.

Where they are not one node, onnxruntime does so before integer kernels form, and a quantized MatMul ends in float.
"""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import constant, is_only_use
from compressctl.notes import Note, done
from compressctl.simplification.edit import become, is_op, producer
from compressctl.simplification.facts import Facts


def form_gemm(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    notes = []
    for node in tuple(model.graph):
        if not is_op(node, "Add"):
            continue
        for value, bias in (node.inputs, reversed(node.inputs)):
            product = producer(value, "MatMul")
            if product is None or value is None or not is_only_use(value, node):
                continue
            x, weight = product.inputs
            matrix, row = facts.static_shape(weight), constant(bias)
            if facts.rank(x) != 2 or constant(weight) is None or matrix is None or len(matrix) != 2 or row is None:
                continue
            if row.dtype.kind != "f" or row.shape not in ((matrix[1],), (1, matrix[1])):
                continue
            name = product.name
            become(node, "Gemm", [x, weight, bias])
            model.graph.remove(product, safe=True)
            node.name = name  # users know the layer by the name of its product
            notes.append(done("MatMul and Add turned into Gemm", name))
            break
    return notes
