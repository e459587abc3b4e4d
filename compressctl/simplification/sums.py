"""Sum of two tensors becomes Add, which onnxruntime runs on integers too."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.notes import Note, done
from compressctl.simplification.edit import become, is_op
from compressctl.simplification.facts import Facts


def flatten_sums(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    notes = []
    for node in model.graph:
        if is_op(node, "Sum") and len(node.inputs) == 2:
            become(node, "Add", node.inputs)
            notes.append(done("Sum of two turned into Add", node.name))
    return notes
