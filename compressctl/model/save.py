"""Writing models."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir


def serialize(model: ir.Model, workdir: Path) -> bytes | Path:
    """Return what an onnxruntime session can open."""
    copy = model.clone()
    for graph in copy.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = ir.tensor(value.const_value.numpy(), name=value.name)
    return bytes(ir.to_proto(copy).SerializeToString(deterministic=True))
