"""BatchNormalization becomes part of the layer before it, or else of the layer after it.

With scale = gamma / sqrt(var + epsilon) and shift = beta - mean * scale, by channel:

- before: W' = scale * W, b' = scale * b + shift, for Conv, ConvTranspose and Gemm, and for MatMul, alone or with a
  constant Add, where the result has two dimensions;
- after: W' = W * scale, b' = b + W @ shift, for Gemm, and for Conv that does not pad.

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3.2.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import initializer, is_only_use
from compressctl.model.ops import BIASED
from compressctl.notes import Note, done, skipped
from compressctl.simplification.affine import Affine, arithmetic, batch_norm
from compressctl.simplification.edit import become, bypass, is_op, producer
from compressctl.simplification.facts import Facts
from compressctl.simplification.layers import scale_inputs, scale_outputs


def fold_batchnorm(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    graph, notes = model.graph, []
    for node in tuple(graph):
        if not is_op(node, "BatchNormalization"):
            continue
        affine = batch_norm(node)
        reason = affine if isinstance(affine, str) else _into_layer_before(graph, node, affine, facts)
        if reason is None:
            notes.append(done("BatchNormalization folded into the layer before it", node.name))
        elif not isinstance(affine, str) and _into_layer_after(graph, node, affine):
            notes.append(done("BatchNormalization folded into the layer after it", node.name))
        else:
            notes.append(skipped(f"BatchNormalization kept: {reason}", node.name))
    return notes


def _into_layer_before(graph: ir.Graph, node: ir.Node, affine: Affine, facts: Facts) -> str | None:
    """Fold `node` into what makes its input and return None, or return why not."""
    layer = affine.source.producer()
    if layer is None:
        return "it follows an input"
    if not is_only_use(affine.source, node):
        return "the output of the layer before it has other users"
    if is_op(layer, *BIASED):
        reason = scale_outputs(graph, layer, affine.scale, affine.shift)
        if reason is None:
            bypass(node, affine.source)
        return reason
    dtype = facts.dtype(affine.source)
    if facts.rank(affine.source) != 2 or dtype is None:
        return f"it follows {layer.op_type}, which has no bias"
    bias = arithmetic(layer, 2)  # the bias of a MatMul, written out
    product = affine.source if bias is None else bias.source
    matmul = producer(product, "MatMul")
    if matmul is None or (bias is not None and not is_only_use(product, layer)):
        return f"it follows {layer.op_type}, which has no weights"
    scale, shift = affine.scale, affine.shift
    if bias is not None:
        scale, shift = scale * bias.scale, scale * bias.shift + shift
    reason = scale_outputs(graph, matmul, scale, np.zeros(1))
    if reason is None:
        become(node, "Add", [product, initializer(graph, f"{matmul.name}_bias", shift.astype(dtype.numpy()))])
    return reason


def _into_layer_after(graph: ir.Graph, node: ir.Node, affine: Affine) -> bool:
    """Fold `node` into the only user of its output, where that can be done."""
    users = node.outputs[0].consumers()
    if len(users) != 1 or users[0].graph is not graph or not is_only_use(node.outputs[0], users[0]):
        return False
    layer = users[0]
    if not is_op(layer, "Conv", "Gemm") or layer.inputs[0] is not node.outputs[0]:
        return False
    folded = scale_inputs(graph, layer, affine.scale, affine.shift) is None
    if folded:
        bypass(node, affine.source)
    return folded
