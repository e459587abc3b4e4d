"""Types and shapes of values."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx_ir as ir
from onnx import shape_inference

from compressctl.errors import ModelError
from compressctl.model.skeleton import skeleton


def infer_shapes(model: ir.Model) -> None:
    """Give the main graph's values the types and shapes that follow from its inputs and operators, in place.

    Known sizes and symbolic names stay; only what is unknown is filled in. Values behind operators that onnx does not
    know keep what they have.

    Raises:
        ModelError: onnx's shape inference rejects the graph; one line.
    """
    known = inferred_types(skeleton(model))
    for value in (output for node in model.graph for output in node.outputs):
        if value.name not in known:
            continue
        kind = known[value.name]
        if value.type is None:
            value.type = ir.serde.deserialize_type_proto_for_type(kind)
        shape = ir.serde.deserialize_type_proto_for_shape(kind)
        if shape is not None:
            value.shape = _merged(value.shape, shape)


def inferred_types(proto: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Run onnx's shape inference, with data propagation, and return the type of every value it knows, by name."""
    try:
        inferred = shape_inference.infer_shapes(proto, data_prop=True)
    except (RuntimeError, ValueError) as error:  # InferenceError is a RuntimeError
        raise ModelError(f"shapes cannot be inferred: {' '.join(str(error).split())}") from error
    graph = inferred.graph
    infos: Iterable[onnx.ValueInfoProto] = [*graph.input, *graph.value_info, *graph.output]
    return {info.name: info.type for info in infos}


def _merged(old: ir.Shape | None, new: ir.Shape) -> ir.Shape:
    if old is None:
        return ir.Shape([_named(dim) for dim in new])
    if len(old) != len(new):  # the file contradicts itself; what its author wrote stays
        return old
    return ir.Shape([a if isinstance(a, int) else _named(b, a) for a, b in zip(old, new, strict=True)])


def _named(inferred: int | ir.SymbolicDim, known: ir.SymbolicDim | None = None) -> int | str | None:
    """Return the inferred size, else the name it is known by, else the inferred name.

    Inference makes up names `unk__0`, …, anew each time it runs; those are dropped.
    """
    if isinstance(inferred, int):
        return inferred
    if known is not None and known.value is not None:
        return known.value
    return None if inferred.value is None or inferred.value.startswith("unk__") else inferred.value
