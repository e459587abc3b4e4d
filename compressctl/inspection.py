"""What a model is made of, and what each pass could do to it, for `compressctl inspect`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compressctl.model.load import interface, load_model
from compressctl.model.size import LayerSize, count
from compressctl.notes import Note
from compressctl.passes import simplify
from compressctl.passes.base import Context
from compressctl.quantization.plan import Selection, make_plan
from compressctl.tensorspec import TensorSpec, parse_tensor_specs


@dataclass(frozen=True)
class Layer:
    """A node with weights or work.

    Attributes:
        size: its name, operator, shape, parameters, bytes and MACs.
        quantize: "static", "dynamic", "rows" (embedding), or "" where it stays float.
    """

    size: LayerSize
    quantize: str


@dataclass(frozen=True)
class Inspection:
    """A model looked at, not measured.

    Attributes:
        path: the file.
        inputs: the graph's inputs.
        outputs: the graph's outputs.
        opset: version of the standard operators.
        parameters: weights in all.
        bytes: bytes of all weights.
        macs: multiply-accumulates for one sample, or None where shapes are unknown.
        layers: in graph order.
        simplify: what the simplify pass would do.
        notes: from loading, and what quantize would leave alone and why.
    """

    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    parameters: int
    bytes: int
    macs: int | None
    layers: tuple[Layer, ...]
    simplify: tuple[Note, ...]
    notes: tuple[Note, ...]


def inspect_model(path: Path, inputs: Sequence[str] = ()) -> Inspection:
    """Load a model and look at it.

    Args:
        path: an ONNX or TorchScript file.
        inputs: `NAME:SHAPE[:DTYPE]` for TorchScript, or sizes of dynamic dimensions.

    Raises:
        ModelError, UsageError: the file cannot be used.
    """
    sized = parse_tensor_specs(inputs)
    loaded = load_model(path, sized)
    model = loaded.model
    specs = interface(model)
    dims = {
        dim: size
        for spec in specs[0]
        for dim, size in zip(spec.shape, sized[spec.name].shape if spec.name in sized else (), strict=False)
        if isinstance(dim, str) and isinstance(size, int)
    }
    size = count(model, dims)
    with tempfile.TemporaryDirectory(prefix="compressctl-") as folder:
        context = Context(baseline=model, workdir=Path(folder))
        simplified = simplify.run(model.clone(), simplify.Config(), context)
    plan, notes = make_plan(simplified.model, "auto", Selection(), calibrated=True, embeddings=True)
    kinds = {
        **dict.fromkeys(plan.static, "static"),
        **dict.fromkeys(plan.dynamic + plan.lstm, "dynamic"),
        **dict.fromkeys(plan.embedding, "rows"),
    }
    return Inspection(
        path=str(path),
        inputs=specs[0],
        outputs=specs[1],
        opset=model.opset_imports.get("", 0),
        parameters=size.parameters,
        bytes=sum(layer.bytes for layer in size.by_layer),
        macs=size.macs,
        layers=tuple(Layer(layer, kinds.get(layer.name, "")) for layer in size.by_layer),
        simplify=simplified.notes,
        notes=(*loaded.notes, *notes),
    )
