"""Operator-set and IR versions: converting old ones up, and the least that a model needs."""

from __future__ import annotations

from bisect import bisect_left

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
        culprit = f"node {_culprit(proto)} cannot be converted from opset {version} to {TARGET}"
        hint = f"export the model again with opset {OLDEST} or later"
        raise ModelError(f"{about}: {culprit}: {reason(error)}", hint) from error
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


def _culprit(proto: onnx.ModelProto) -> str:
    """Return name and operator of the node that the converter fails at: the last of the shortest failing prefix."""
    nodes = proto.graph.node

    def fails(length: int) -> bool:
        prefix = onnx.ModelProto()
        prefix.CopyFrom(proto)
        del prefix.graph.node[length:], prefix.graph.output[:]
        prefix.graph.output.append(helper.make_tensor_value_info(nodes[length - 1].output[0], 1, None))
        try:
            version_converter.convert_version(prefix, TARGET)
        except MALFORMED:
            return True
        return False

    node = nodes[bisect_left(range(1, len(nodes)), True, key=fails)]
    return f"{node.name!r} ({node.op_type})"
