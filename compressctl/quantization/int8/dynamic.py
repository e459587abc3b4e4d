"""INT8 without data: weights become integers now, activations at run time.

What has such a form in onnxruntime's CPU kernels: MatMul and Gemm with a constant weight, LSTM, embedding tables.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import all_nodes, remove_dead
from compressctl.model.stored import QUANTIZED, computed, multiplies_activations
from compressctl.model.tensor_file import TensorFiles
from compressctl.notes import Note, skipped, warning
from compressctl.quantization.int8 import embedding, lstm, matmul
from compressctl.quantization.int8.weights import Int8Weights

_FORMS = {"MatMul": matmul, "Gemm": matmul, "LSTM": lstm, "Gather": embedding}
_NO_FORM = {
    **dict.fromkeys(ops.LAYERS - _FORMS.keys(), "it has no INT8 kernel"),
    **dict.fromkeys(ops.CONV_FORMS, "a convolution whose input is quantized as it comes is slower than in float"),
    **dict.fromkeys(ops.QUANTIZED_LAYERS | {"GatherBlockQuantized"}, QUANTIZED),
}


def candidates(model: ir.Model) -> list[tuple[ir.Node, str | None]]:
    """Return each node that looks quantizable, with the reason why it is not, or None where it is.

    That the file would grow is a reason too, but `quantize` quantizes such a node where it is told to.
    """
    fed = computed(model.graph)
    nodes = [node for node in all_nodes(model.graph) if _looks_quantizable(node, fed)]
    return [(node, _obstacle(node) or _growth(node)) for node in nodes]


def quantize(
    model: ir.Model, nodes: Iterable[ir.Node], *, reduced_range: bool = False, files: TensorFiles | None = None
) -> list[Note]:
    """Quantize `nodes`, any subset of the `candidates`; what has no INT8 form is left, with a note.

    A weight that several nodes use is stored once, and stays beside its int8 form where others use it in float.

    Args:
        model: edited in place; what nothing uses any more is removed. Standard opset 11 or later.
        nodes: nodes of the model's main graph, and of bodies in it.
        reduced_range: 7-bit weights, which cannot saturate on x86 without VNNI.
        files: where large integers wait until the model is saved; None: in memory.

    Raises:
        ModelError: a weight holds NaN or infinity.
    """
    weights = Int8Weights(model.graph, reduced_range=reduced_range, files=files)
    notes: list[Note] = []
    chosen: dict[str, list[ir.Node]] = {op_type: [] for op_type in _FORMS}
    for node in nodes:
        reason = _obstacle(node)
        if reason is None:
            chosen[node.op_type].append(node)
        else:
            notes.append(skipped(reason, node.name))
    products, quantizers = {*chosen["MatMul"], *chosen["Gemm"]}, matmul.Quantizers()
    ordered = [node for node in all_nodes(model.graph) if node in products]
    notes += [matmul.quantize(model, node, weights, quantizers) for node in ordered]
    notes += [lstm.quantize(model, node, weights) for node in chosen["LSTM"]]
    notes += [embedding.quantize(model, node, weights) for node in chosen["Gather"]]
    remove_dead(model)
    for weight in weights.weights:
        if users := ", ".join(str(node.name) for node in weight.consumers()):
            notes.append(warning(f"stays in float too, for {users}", weight.name))
    return notes


def _looks_quantizable(node: ir.Node, fed: set[ir.Value]) -> bool:
    """Whether it multiplies by a weight, or looks one up: a product of two activations has none."""
    if node.op_type == "Gather":
        return embedding.is_embedding(node)
    if multiplies_activations(node, fed):
        return False
    return node.op_type in _NO_FORM or (node.op_type in _FORMS and not node.domain)


def _obstacle(node: ir.Node) -> str | None:
    form = None if node.domain else _FORMS.get(node.op_type)
    reason: str | None = form.obstacle(node) if form else _NO_FORM.get(node.op_type, "it has no INT8 form")
    return reason


def _growth(node: ir.Node) -> str | None:
    saved: int = _FORMS[node.op_type].saved_bytes(node)
    return None if saved > 0 else f"its INT8 form would be {-saved} bytes larger"
