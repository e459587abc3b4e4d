"""Which inputs of which operators are scales and zero points.

Sources: ONNX operator specification; onnxruntime's ContribOperators.md for the domain com.microsoft.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

_CONTRIB = "com.microsoft"
_UNARY = ((1, 2), (3, 4))
_BINARY = ((1, 2), (4, 5), (6, 7))

# (domain, operator) -> (index of a scale, index of its zero point), …; None where that input does not exist.
_PAIRS: dict[tuple[str, str], tuple[tuple[int | None, int | None], ...]] = {
    ("", "QuantizeLinear"): ((1, 2),),
    ("", "DequantizeLinear"): ((1, 2),),
    ("", "QLinearConv"): ((1, 2), (4, 5), (6, 7)),
    ("", "QLinearMatMul"): _BINARY,
    ("", "ConvInteger"): ((None, 2), (None, 3)),
    ("", "MatMulInteger"): ((None, 2), (None, 3)),
    (_CONTRIB, "QuantizeLinear"): ((1, 2),),
    (_CONTRIB, "DequantizeLinear"): ((1, 2),),
    (_CONTRIB, "QLinearAdd"): _BINARY,
    (_CONTRIB, "QLinearMul"): _BINARY,
    (_CONTRIB, "QLinearSigmoid"): _UNARY,
    (_CONTRIB, "QLinearLeakyRelu"): _UNARY,
    (_CONTRIB, "QLinearSoftmax"): _UNARY,
    (_CONTRIB, "QLinearAveragePool"): _UNARY,
    (_CONTRIB, "QLinearGlobalAveragePool"): _UNARY,
    (_CONTRIB, "QGemm"): ((1, 2), (4, 5), (7, 8)),
    (_CONTRIB, "MatMulIntegerToFloat"): ((2, 4), (3, 5)),
    (_CONTRIB, "DynamicQuantizeMatMul"): ((2, 3),),
    (_CONTRIB, "DynamicQuantizeLSTM"): ((8, 9), (10, 11)),
    (_CONTRIB, "QAttention"): ((3, 6), (4, 7)),
    (_CONTRIB, "MatMulNBits"): ((2, 3),),
    (_CONTRIB, "GatherBlockQuantized"): ((2, 3),),
}
_BLOCKWISE = {(_CONTRIB, "MatMulNBits"), (_CONTRIB, "GatherBlockQuantized")}
_DYNAMIC = {("", "DynamicQuantizeLinear")}


def is_quantized(node: ir.Node) -> bool:
    """Return whether `node` quantizes, dequantizes or computes with quantized tensors."""
    key = (node.domain, node.op_type)
    return key in _PAIRS or key in _DYNAMIC or key == (_CONTRIB, "QLinearConcat")


def may_be_negative(node: ir.Node) -> bool:
    """Return whether the node's scales may be below zero: block-quantized weights keep the sign in the scale."""
    return (node.domain, node.op_type) in _BLOCKWISE


def quantization_pairs(node: ir.Node) -> Iterator[tuple[ir.Value | None, ir.Value | None]]:
    """Yield (scale, zero point) for each quantized tensor of `node`; None where one is not given."""
    pairs = _PAIRS.get((node.domain, node.op_type), ())
    if (node.domain, node.op_type) == (_CONTRIB, "QLinearConcat"):  # Y's pair, then (tensor, scale, zero point)…
        pairs = ((0, 1), *((i + 1, i + 2) for i in range(2, len(node.inputs), 3)))
    for scale, zero in pairs:
        yield _input(node, scale), _input(node, zero)


def _input(node: ir.Node, index: int | None) -> ir.Value | None:
    return node.inputs[index] if index is not None and index < len(node.inputs) else None
