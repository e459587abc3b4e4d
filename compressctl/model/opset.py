"""Operator-set and IR versions: converting old ones up, and the least that a model needs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnx import helper, version_converter

from compressctl.errors import ModelError
from compressctl.model.reasons import MALFORMED, reason

OLDEST = 13  # per-channel QuantizeLinear and DequantizeLinear begin here
TARGET = 17

# onnx.proto: the IR version in which each element type was added.
_TYPE_SINCE = {
    ir.DataType.FLOAT8E4M3FN: 9,
    ir.DataType.FLOAT8E4M3FNUZ: 9,
    ir.DataType.FLOAT8E5M2: 9,
    ir.DataType.FLOAT8E5M2FNUZ: 9,
    ir.DataType.INT4: 10,
    ir.DataType.UINT4: 10,
    ir.DataType.FLOAT4E2M1: 11,
    ir.DataType.FLOAT8E8M0: 12,
    ir.DataType.INT2: 13,
    ir.DataType.UINT2: 13,
}
_OLDEST_IR = 4  # initializers need not be graph inputs any more


def standard_opset(proto: onnx.ModelProto) -> int:
    """Return the version of the standard operator set that the model imports (1 where it imports none)."""
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def convert_up(proto: onnx.ModelProto, *, about: str) -> None:
    """Convert a weightless model below `OLDEST` to `TARGET` in place; names of inputs, outputs and weights stay.

    Raises:
        ModelError: onnx's converter fails; the message begins with `about` and names the operator.
    """
    version = standard_opset(proto)
    try:
        converted = version_converter.convert_version(proto, TARGET)
    except MALFORMED as error:
        words = set(re.findall(r"[A-Z][A-Za-z]+", str(error).replace("\n", " ")))
        culprits = [op for op in _operators(proto.graph) if op in words or f"{op}{version}" in str(error)]
        named = f"operator {culprits[0]}" if culprits else f"the graph ({reason(error)})"
        hint = f"export the model again with opset {OLDEST} or later"
        raise ModelError(f"{about}: {named} cannot be converted from opset {version} to {TARGET}", hint) from error
    for field in ("input", "output"):  # the converter puts made-up names in the place of unknown dimensions
        del getattr(converted.graph, field)[:]
        getattr(converted.graph, field).extend(getattr(proto.graph, field))
    del converted.graph.value_info[:]
    proto.graph.CopyFrom(converted.graph)
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = TARGET
    proto.ir_version = max(proto.ir_version, least_ir_version({"": TARGET}))


def least_ir_version(opsets: dict[str, int], types: set[ir.DataType] | None = None) -> int:
    """Return the lowest IR version in which these operator sets and element types exist, 4 at least."""
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    by_opset = helper.find_min_ir_version_for(imports, ignore_unknown=True)
    return max(_OLDEST_IR, by_opset, *(_TYPE_SINCE.get(kind, 0) for kind in types or ()))


def _operators(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _operators(body)
