"""onnx's checker, which does not know the operators that onnxruntime adds to the standard ones."""

from __future__ import annotations

import onnx

_ADDED = frozenset({"SimplifiedLayerNormalization"})  # its optimizer writes these without a domain of their own
_DOMAIN = "com.microsoft"  # the checker looks into no other domain than onnx's


def check_model(proto: onnx.ModelProto) -> None:
    """Check a model, which is as before afterwards.

    Raises:
        onnx.checker.ValidationError: onnx does not accept it.
    """
    added = [node for node in proto.graph.node if node.op_type in _ADDED and not node.domain]
    imports = len(proto.opset_import)
    for node in added:
        node.domain = _DOMAIN
    if added and all(entry.domain != _DOMAIN for entry in proto.opset_import):
        proto.opset_import.add(domain=_DOMAIN, version=1)
    try:
        onnx.checker.check_model(proto)
    finally:
        del proto.opset_import[imports:]
        for node in added:
            node.ClearField("domain")
