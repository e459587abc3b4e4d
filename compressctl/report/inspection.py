"""An inspection of a model, as a value and as tables."""

from __future__ import annotations

from dataclasses import dataclass

from compressctl.model.size import LayerSize
from compressctl.notes import Note
from compressctl.report.formatting import si
from compressctl.report.tables import Table, grouped
from compressctl.tensorspec import TensorSpec


@dataclass(frozen=True)
class Layer:
    """A node with weights or work.

    Attributes:
        size: its name, operator, shape, parameters, bytes and MACs.
        quantize: "static", "dynamic" or "" where it stays float.
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
        macs: multiply-accumulates for one sample; None where those of some nodes are unknown.
        layers: in graph order.
        passes: what passes that need no data would do, by name; `Layer.quantize` is what quantize would.
        notes: from loading.
    """

    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    parameters: int
    bytes: int
    macs: int | None
    layers: tuple[Layer, ...]
    passes: dict[str, tuple[Note, ...]]
    notes: tuple[Note, ...]


def tables(inspection: Inspection) -> list[Table]:
    """Return the tables of an inspection: the model, its layers, what passes would do."""
    facts = [
        ("inputs", ", ".join(map(_with_role, inspection.inputs))),
        ("outputs", ", ".join(map(str, inspection.outputs))),
        ("opset", str(inspection.opset)),
        ("parameters", si(inspection.parameters)),
        ("weights", si(inspection.bytes, "B")),
        ("MACs", "unknown" if inspection.macs is None else si(inspection.macs)),
    ]
    layers = tuple(
        (
            layer.size.node,
            layer.size.op,
            "x".join("?" if dim is None else str(dim) for dim in layer.size.shape),
            si(layer.size.parameters),
            si(layer.size.bytes, "B"),
            si(layer.size.macs),
            layer.quantize or ("float" if layer.size.parameters else ""),
        )
        for layer in inspection.layers
    )
    remarks = [(name, text) for name, notes in inspection.passes.items() for _, text in grouped(notes)]
    remarks += [("load", f"{kind}: {text}") for kind, text in grouped(inspection.notes)]
    header = ("layer", "operator", "output", "parameters", "bytes", "MACs", "quantize auto")
    return [
        Table(inspection.path, ("", ""), tuple(facts)),
        Table("Layers", header, layers),
        *([Table("Passes", ("pass", "would"), tuple(remarks))] if remarks else []),
    ]


def _with_role(spec: TensorSpec) -> str:
    """Return an input with what it is fed, where that is not a sample a row."""
    if spec.state is not None:
        return f"{spec} (state, from {spec.state})"
    if spec.axis is None:
        return f"{spec} (fed whole)"
    if spec.lone:
        return f"{spec} (one sample at a time)"
    return f"{spec} (samples along dimension {spec.axis})" if spec.axis else str(spec)
