"""Which inputs of a node are quantized tensors, their scales and their zero points.

Sources: ONNX operator specification; onnxruntime's ContribOperators.md for the domain com.microsoft.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import operand

_CONTRIB = "com.microsoft"


class Quantized(NamedTuple):
    """A quantized tensor of a node; None where the node has no such input (a tensor of None is an output)."""

    tensor: ir.Value | None
    scale: ir.Value | None
    zero: ir.Value | None


def is_quantized(node: ir.Node) -> bool:
    """Return whether `node` quantizes, dequantizes or computes with quantized tensors."""
    return node.op_type in ops.QUANTIZED and node.domain in ("", _CONTRIB)


def is_blockwise(node: ir.Node) -> bool:
    """Return whether the node's weights are packed in blocks; those keep their sign in the scale."""
    return node.domain == _CONTRIB and node.op_type in ops.BLOCKWISE


def quantized_inputs(node: ir.Node) -> Iterator[Quantized]:
    """Yield tensor, scale and zero point of each quantized input and output of `node`."""
    triples: Iterable[ops.Triple] = ops.QUANTIZED[node.op_type] if is_quantized(node) else ()
    if node.op_type == "QLinearConcat" and node.domain == _CONTRIB:
        triples = (ops.Triple(None, 0, 1), *(ops.Triple(i, i + 1, i + 2) for i in range(2, len(node.inputs), 3)))
    for triple in triples:
        yield Quantized(*(None if i is None else operand(node, i) for i in triple))
