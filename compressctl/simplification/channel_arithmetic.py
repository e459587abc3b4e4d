"""Add, Sub, Mul and Div with one constant a channel, as which converters write biases and normalisations, become part
of the layer before them: a Conv, ConvTranspose, Gemm, or a BatchNormalization that could not become part of another.
"""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import is_only_use
from compressctl.model.ops import BIASED
from compressctl.notes import Note, done, skipped
from compressctl.simplification.affine import arithmetic
from compressctl.simplification.edit import bypass, is_op, producer
from compressctl.simplification.facts import Facts
from compressctl.simplification.layers import scale_batch_norm, scale_outputs

_LAYERS = (*BIASED, "BatchNormalization")


def fold_channel_arithmetic(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    graph, notes = model.graph, []
    for node in tuple(graph):
        layer = next((above for value in node.inputs if (above := producer(value, *_LAYERS)) is not None), None)
        rank = None if layer is None else facts.rank(layer.outputs[0])
        affine = None if rank is None else arithmetic(node, rank)
        if layer is None or affine is None or not is_only_use(layer.outputs[0], node):
            continue
        scale = scale_batch_norm if is_op(layer, "BatchNormalization") else scale_outputs
        reason = scale(graph, layer, affine.scale, affine.shift)
        if reason is None:
            bypass(node, affine.source)
            notes.append(done(f"{node.op_type} by channel folded into {layer.op_type}", node.name))
        else:
            notes.append(skipped(f"{node.op_type} by channel kept: {reason}", node.name))
    return notes
