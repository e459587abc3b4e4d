"""Did onnxruntime form an integer kernel for each node that was quantized?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx_ir as ir

from compressctl.model.graph import all_nodes
from compressctl.notes import Note, warning

_KERNELS = {
    "Conv": ("QLinearConv", "QLinearConv_nhwc"),
    "Gemm": ("QGemm", "QLinearMatMul", "MatMulIntegerToFloat"),
    "MatMul": ("QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulInteger"),
}


def expected_kernels(model: ir.Model) -> Counter[str]:
    """Count the Conv, Gemm and MatMul nodes whose weight is dequantized, by operator type."""
    return Counter(
        node.op_type for node in all_nodes(model.graph) if node.op_type in _KERNELS and _weight_is_dequantized(node)
    )


def unfused(model: ir.Model, executed: Mapping[str, int]) -> list[Note]:
    """Return a warning for each operator type of which some quantized nodes run in float after all.

    Args:
        model: the quantized model.
        executed: operator histogram of the graph that onnxruntime runs.
    """
    notes = []
    for op, expected in expected_kernels(model).items():
        formed = sum(executed.get(kernel, 0) for kernel in _KERNELS[op])
        if formed < expected:
            text = f"onnxruntime runs only {formed} of {expected} quantized {op} nodes as integers, the others in float"
            notes.append(warning(text))
    return notes


def _weight_is_dequantized(node: ir.Node) -> bool:
    weight = node.inputs[1]
    producer = weight.producer() if weight is not None else None
    return producer is not None and producer.op_type == "DequantizeLinear"
