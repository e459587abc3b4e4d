"""Reading models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from compressctl.notes import Note
from compressctl.tensorspec import Dim, TensorSpec


@dataclass(frozen=True)
class Loaded:
    """A model, where it came from, and what was noticed on the way."""

    model: ir.Model
    path: Path
    sha256: str
    notes: tuple[Note, ...] = ()


def load_model(path: Path, inputs: Mapping[str, TensorSpec] | None = None, *, allow_custom: bool = False) -> Loaded:
    """Load an ONNX or TorchScript file."""
    model = ir.load(path)
    return Loaded(model, path, hashlib.sha256(path.read_bytes()).hexdigest())


def interface(model: ir.Model) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the specs of the model's inputs and outputs, in graph order."""
    inputs = tuple(_spec(value) for value in model.graph.inputs if not value.is_initializer())
    return inputs, tuple(_spec(value) for value in model.graph.outputs)


def _spec(value: ir.Value) -> TensorSpec:
    dims: tuple[Dim, ...] = tuple(
        dim if isinstance(dim, int) else dim.value for dim in (value.shape if value.shape is not None else ())
    )
    dtype = value.dtype.numpy().name if value.dtype is not None else "float32"
    return TensorSpec(value.name or "", dtype, dims)
