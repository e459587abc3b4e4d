"""An inspection as tables and as JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from compressctl.report.tables import Table, grouped, si


def tables(inspection: Any) -> list[Table]:
    """Return the tables of an `Inspection`: the model, its layers, what passes would do."""
    facts = [
        ("inputs", ", ".join(map(str, inspection.inputs))),
        ("outputs", ", ".join(map(str, inspection.outputs))),
        ("opset", str(inspection.opset)),
        ("parameters", si(inspection.parameters)),
        ("weights", si(inspection.bytes, "B")),
        ("MACs", si(inspection.macs)),
    ]
    layers = tuple(
        (
            layer.size.name,
            layer.size.op,
            "x".join("?" if dim is None else str(dim) for dim in layer.size.shape),
            si(layer.size.parameters),
            si(layer.size.bytes, "B"),
            si(layer.size.macs),
            layer.quantize or "float",
        )
        for layer in inspection.layers
    )
    remarks = [("simplify", text) for _, text in grouped(inspection.simplify)]
    remarks += [("", f"{kind}: {text}") for kind, text in grouped(inspection.notes)]
    header = ("layer", "operator", "output", "parameters", "bytes", "MACs", "quantize auto")
    return [
        Table(inspection.path, ("", ""), tuple(facts)),
        Table("Layers", header, layers),
        *([Table("Passes", ("pass", "would"), tuple(remarks))] if remarks else []),
    ]


def to_json(inspection: Any) -> str:
    """Return the inspection as one JSON document."""
    return json.dumps(TypeAdapter(type(inspection)).dump_python(inspection, mode="json"), indent=2)
