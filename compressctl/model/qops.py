"""Which inputs of which operators are quantized tensors, their scales and their zero points.

Sources: ONNX operator specification; onnxruntime's ContribOperators.md for the domain com.microsoft.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import onnx_ir as ir

_CONTRIB = "com.microsoft"


class Quantized(NamedTuple):
    """A quantized tensor of a node; None where the node has no such input (a tensor of None is an output)."""

    tensor: ir.Value | None
    scale: ir.Value | None
    zero: ir.Value | None


_Triple = tuple[int | None, int | None, int | None]
_LINEAR: tuple[_Triple, ...] = ((0, 1, 2),)
_UNARY: tuple[_Triple, ...] = ((0, 1, 2), (None, 3, 4))
_BINARY: tuple[_Triple, ...] = ((0, 1, 2), (3, 4, 5), (None, 6, 7))
_INTEGER: tuple[_Triple, ...] = ((0, None, 2), (1, None, 3))

# (domain, operator) -> indices of (tensor, scale, zero point).
_INPUTS: dict[tuple[str, str], tuple[_Triple, ...]] = {
    ("", "QuantizeLinear"): _LINEAR,
    ("", "DequantizeLinear"): _LINEAR,
    ("", "DynamicQuantizeLinear"): (),
    ("", "QLinearConv"): _BINARY,
    ("", "QLinearMatMul"): _BINARY,
    ("", "ConvInteger"): _INTEGER,
    ("", "MatMulInteger"): _INTEGER,
    (_CONTRIB, "QuantizeLinear"): _LINEAR,
    (_CONTRIB, "DequantizeLinear"): _LINEAR,
    (_CONTRIB, "QLinearAdd"): _BINARY,
    (_CONTRIB, "QLinearMul"): _BINARY,
    (_CONTRIB, "QLinearSigmoid"): _UNARY,
    (_CONTRIB, "QLinearLeakyRelu"): _UNARY,
    (_CONTRIB, "QLinearSoftmax"): _UNARY,
    (_CONTRIB, "QLinearAveragePool"): _UNARY,
    (_CONTRIB, "QLinearGlobalAveragePool"): _UNARY,
    (_CONTRIB, "QLinearConcat"): (),  # any number of inputs, see quantized_inputs
    (_CONTRIB, "QGemm"): ((0, 1, 2), (3, 4, 5), (None, 7, 8)),
    (_CONTRIB, "MatMulIntegerToFloat"): ((0, 2, 4), (1, 3, 5)),
    (_CONTRIB, "DynamicQuantizeMatMul"): ((1, 2, 3),),
    (_CONTRIB, "DynamicQuantizeLSTM"): ((1, 8, 9), (2, 10, 11)),
    (_CONTRIB, "QAttention"): ((0, 3, 6), (1, 4, 7)),
    (_CONTRIB, "MatMulNBits"): ((1, 2, 3),),
    (_CONTRIB, "GatherBlockQuantized"): ((0, 2, 3),),
}
_BLOCKWISE = ("MatMulNBits", "GatherBlockQuantized")


def is_quantized(node: ir.Node) -> bool:
    """Return whether `node` quantizes, dequantizes or computes with quantized tensors."""
    return (node.domain, node.op_type) in _INPUTS


def is_blockwise(node: ir.Node) -> bool:
    """Return whether the node's weights are packed in blocks; those keep their sign in the scale."""
    return node.domain == _CONTRIB and node.op_type in _BLOCKWISE


def quantized_inputs(node: ir.Node) -> Iterator[Quantized]:
    """Yield tensor, scale and zero point of each quantized input and output of `node`."""
    triples = _INPUTS.get((node.domain, node.op_type), ())
    if (node.domain, node.op_type) == (_CONTRIB, "QLinearConcat"):
        triples = ((None, 0, 1), *((i, i + 1, i + 2) for i in range(2, len(node.inputs), 3)))
    for triple in triples:
        yield Quantized(*(node.inputs[i] if i is not None and i < len(node.inputs) else None for i in triple))
