"""What a starter recipe needs to know of a model: its kind, where its bytes and its work are, what can be quantized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compressctl.container.signature import is_packed
from compressctl.model import ops
from compressctl.model.load import Loaded
from compressctl.model.qops import is_quantized
from compressctl.model.size import file_bytes
from compressctl.model.stored import making_nodes
from compressctl.report.inspection import Inspection, Layer
from compressctl.tensorspec import TensorSpec

Kind = Literal["convolutional network", "transformer", "recurrent network", "feed-forward network"]

_LAYER = 700  # bytes of names, scales and nodes that a quantized layer adds, as measured on the sample models
_PROVENANCE = 4096  # bytes that the recipe and its origin may take in the output


@dataclass(frozen=True)
class ModelFacts:
    """A model as a recipe sees it.

    Attributes:
        path: the file, as it was given.
        kind: by where most multiply-accumulates are.
        inputs, outputs: of the graph.
        parameters: weights in all.
        bytes: of all weights as they are stored.
        file_bytes: of the file with its external data.
        macs: multiply-accumulates of a sample, or None.
        bytes_by_operator, macs_by_operator: share of each operator, most first, those of a percent or more.
        static, dynamic: layers that INT8 with and without calibration would take.
        quantizable: parameters of those layers.
        quantizable_bytes: and their bytes.
        norms: whether there are norms that `simplify` would fold.
        recurrent: share of the multiply-accumulates that is in recurrent layers.
        quantized: nodes that compute with integers already.
        packed: nodes that unpack weights when the file is loaded.
    """

    path: str
    kind: Kind
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    bytes: int
    file_bytes: int
    macs: int | None
    bytes_by_operator: tuple[tuple[str, float], ...]
    macs_by_operator: tuple[tuple[str, float], ...]
    static: int
    dynamic: int
    quantizable: int
    quantizable_bytes: int
    norms: bool
    recurrent: float
    quantized: int
    packed: int

    @property
    def dynamic_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs with a dynamic dimension besides the first one, which is that of samples."""
        return tuple(spec for spec in self.inputs if any(not isinstance(dim, int) for dim in spec.shape[1:]))

    def expected_ratio(self, bits: float) -> float:
        """Return the size to expect over that of the file, where what can be quantized gets `bits` a weight.

        Scales, names and nodes are estimated; small models end larger than their bits promise.
        """
        graph = max(self.file_bytes - self.bytes, 0) + _PROVENANCE + _LAYER * (self.static + self.dynamic)
        fixed = self.bytes - self.quantizable_bytes + graph
        return (fixed + self.quantizable * bits / 8) / self.file_bytes


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
        macs=inspection.macs,
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
