"""What a starter recipe needs to know of a model: its kind, where its bytes and its work are, what can be quantized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from compressctl.container.signature import is_packed
from compressctl.model import ops
from compressctl.model.load import Loaded
from compressctl.model.qops import is_quantized
from compressctl.model.size import file_bytes
from compressctl.model.stored import making_nodes
from compressctl.passes.advice import Kind, ModelFacts
from compressctl.report.inspection import Inspection, Layer


def model_facts(path: Path, loaded: Loaded, inspection: Inspection) -> ModelFacts:
    """Gather what a recipe needs from a model, its inspection and its file, which may be packed.

    Raises:
        ModelError: the file cannot be read.
    """
    layers = inspection.layers
    chosen = [layer for layer in layers if layer.quantize]
    kinds = Counter(layer.quantize for layer in chosen)
    work = _shares((layer.size.op, layer.size.macs or 0) for layer in layers)
    return ModelFacts(
        path=str(path),
        kind=_kind(layers, dict(work)),
        inputs=inspection.inputs,
        outputs=inspection.outputs,
        parameters=inspection.parameters,
        bytes=inspection.bytes,
        file_bytes=path.stat().st_size if is_packed(path) else file_bytes(path),
        macs=inspection.macs or 0,
        bytes_by_operator=_shares((layer.size.op, layer.size.bytes) for layer in layers),
        macs_by_operator=work,
        static=kinds["static"],
        dynamic=kinds["dynamic"],
        quantizable=sum(layer.size.parameters for layer in chosen),
        quantizable_bytes=sum(layer.size.bytes for layer in chosen),
        norms=any(layer.size.op == "BatchNormalization" for layer in layers),
        recurrent=sum(share for op, share in work if op in ops.RECURRENT_FORMS),
        quantized=sum(is_quantized(node) for node in loaded.model.graph.all_nodes()),
        packed=len(making_nodes(loaded.model.graph)),
    )


def _kind(layers: Iterable[Layer], work: dict[str, float]) -> Kind:
    """Name the architecture by its operators; products of two activations beside a Softmax are attention."""
    layers = tuple(layers)
    found = {layer.size.op for layer in layers}
    products = any(layer.size.op == "MatMul" and not layer.size.parameters and layer.size.macs for layer in layers)
    if found & ops.ATTENTION or ("Softmax" in found and products):
        return "transformer"
    if sum(work.get(op, 0) for op in ops.CONVOLUTIONAL) >= 0.5:
        return "convolutional network"
    if found & ops.RECURRENT_FORMS:
        return "recurrent network"
    return "convolutional network" if found & ops.CONVOLUTIONAL else "feed-forward network"


def _shares(amounts: Iterable[tuple[str, int]]) -> tuple[tuple[str, float], ...]:
    """Return the share of each operator, most first."""
    total: Counter[str] = Counter()
    for op, amount in amounts:
        total[op] += amount
    whole = max(sum(total.values()), 1)
    return tuple((op, amount / whole) for op, amount in total.most_common() if amount >= 0.01 * whole)
