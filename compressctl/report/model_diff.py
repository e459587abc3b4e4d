"""Two models side by side: operators, stored tensors, and how far the weights of their layers are apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.container.opened import opened
from compressctl.container.signature import is_packed
from compressctl.explanation.layers import weighted_nodes
from compressctl.explanation.weights import ResultWeights
from compressctl.model.load import interface, load_model
from compressctl.model.same import content_hash
from compressctl.model.size import count, file_bytes
from compressctl.model.tensors import read_array, stored_tensors
from compressctl.model_folder import model_file
from compressctl.probation import on_probation
from compressctl.report.schema import BenchReport
from compressctl.tensorspec import TensorSpec


@dataclass(frozen=True)
class ModelFacts:
    """What a model is: its file's bytes, its inputs and outputs, weights, work, nodes with those inside bodies."""

    path: str
    bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    parameters: int
    nonzeros: int
    macs: int
    nodes: int


@dataclass(frozen=True)
class TensorForm:
    """How a tensor is stored."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class TensorChange:
    """A stored tensor that only one of the models has, or that differs.

    Attributes:
        name: of the tensor.
        kind: what became of it from the first model to the second.
        a, b: how it is stored; None where it is not.
        sqnr_db: of a changed one, 10 log10(sum a² / sum (a - b)²), where both are floats of one shape; else None.
    """

    name: str
    kind: Literal["added", "removed", "changed"]
    a: TensorForm | None
    b: TensorForm | None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class LayerChange:
    """A layer of both models whose weights, as the floats that they stand for, differ.

    Attributes:
        name: the node in the first model.
        op: its operator there.
        shape: of the weight there.
        sqnr_db: of the weights, as of `TensorChange`; None where they have other shapes or cannot be told.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    sqnr_db: float | None


@dataclass(frozen=True)
class ModelDiff:
    """Two models side by side.

    Attributes:
        a, b: the models.
        operators: how many nodes of each operator they have, of those that differ.
        tensors: stored tensors that differ.
        same_tensors: how many are the same.
        layers: whose weights differ.
        measured: both measured side by side, where asked for.
    """

    a: ModelFacts
    b: ModelFacts
    operators: dict[str, tuple[int, int]]
    tensors: tuple[TensorChange, ...]
    same_tensors: int
    layers: tuple[LayerChange, ...]
    measured: BenchReport | None = None


def diff_models(a: Path, b: Path, inputs: Mapping[str, TensorSpec], *, threads: int = 0) -> ModelDiff:
    """Put two model files side by side, in the form that passes see.

    Args:
        a, b: ONNX, TorchScript or .ccz files.
        inputs: of TorchScript models.
        threads: of onnxruntime.

    Raises:
        ModelError, UsageError: a file cannot be used.
    """
    a, b = model_file(a), model_file(b)
    with ExitStack() as stack:
        with on_probation(a):
            first = stack.enter_context(opened(a))
            one = load_model(first, inputs).model
        with on_probation(b):
            second = stack.enter_context(opened(b))
            other = load_model(second, inputs).model
        tensors, same = _tensors(one, other)
        before, after = _operators(one), _operators(other)
        return ModelDiff(
            a=_facts(a, first, one),
            b=_facts(b, second, other),
            operators={op: (before[op], after[op]) for op in sorted(before | after) if before[op] != after[op]},
            tensors=tensors,
            same_tensors=same,
            layers=tuple(_layers(one, other, threads)),
        )


def _facts(path: Path, file: Path, model: ir.Model) -> ModelFacts:
    size = count(model)
    inputs, outputs = interface(model)
    return ModelFacts(
        path=str(path),
        bytes=path.stat().st_size if is_packed(path) else file_bytes(file),
        inputs=inputs,
        outputs=outputs,
        opset=model.opset_imports.get("", 0),
        parameters=size.parameters,
        nonzeros=size.nonzeros,
        macs=size.macs,
        nodes=sum(1 for _ in model.graph.all_nodes()),
    )


def _operators(model: ir.Model) -> Counter[str]:
    return Counter(f"{node.domain}.{node.op_type}".lstrip(".") for node in model.graph.all_nodes())


def _tensors(a: ir.Model, b: ir.Model) -> tuple[tuple[TensorChange, ...], int]:
    """Return the stored tensors that differ, by name, and how many do not."""
    before, after = (dict(stored_tensors(model.graph)) for model in (a, b))
    changes, same = [], 0
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            kind: Literal["added", "removed"] = "added" if one is None else "removed"
            changes.append(TensorChange(name, kind, _form_of(one), _form_of(other)))
        elif _form_of(one) == _form_of(other) and content_hash(one) == content_hash(other):
            same += 1
        else:
            sqnr = _ratio(read_array(one), read_array(other)) if _are_floats(one, other) else None
            changes.append(TensorChange(name, "changed", _form_of(one), _form_of(other), sqnr))
    return tuple(changes), same


def _layers(a: ir.Model, b: ir.Model, threads: int) -> Iterator[LayerChange]:
    """Yield the layers of `a` that `b` has too, by the name of the node or of its output, with other weights."""
    values = {output.name for node in b.graph for output in node.outputs}
    nodes = {node.name: node for node in a.graph}
    own, others = ResultWeights(a, threads), ResultWeights(b, threads)
    for layer in weighted_nodes(a.graph):
        given = next((name for name in layer.values if name in values), None)
        if given is None:
            continue
        weights, found = (side.of(layer, given, nodes[layer.name]) for side in (own, others))
        if weights is None:
            continue
        first = weights.arrays[0]
        if found is None or any(x.shape != y.shape for x, y in zip(weights.arrays, found.arrays, strict=True)):
            yield LayerChange(layer.name, layer.op, first.shape, None)
        elif not all(np.array_equal(x, y) for x, y in zip(weights.arrays, found.arrays, strict=True)):
            flat = [np.concatenate([array.ravel() for array in side.arrays]) for side in (weights, found)]
            yield LayerChange(layer.name, layer.op, first.shape, _ratio(*flat))


def _ratio(a: Array, b: Array) -> float:
    signal, error = a.astype(np.float64), a.astype(np.float64) - b.astype(np.float64)
    noise = float(np.vdot(error, error))
    power = float(np.vdot(signal, signal))
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power else -math.inf


def _are_floats(one: ir.TensorProtocol, other: ir.TensorProtocol) -> bool:
    return one.dtype.is_floating_point() and other.dtype.is_floating_point() and _shape(one) == _shape(other)


def _shape(tensor: ir.TensorProtocol) -> tuple[int, ...]:
    return tuple(map(int, tensor.shape.numpy()))


def _form_of(tensor: ir.TensorProtocol | None) -> TensorForm | None:
    return None if tensor is None else TensorForm(tensor.dtype.name.lower(), _shape(tensor), tensor.nbytes)
