"""What onnx and onnx_ir raise for a malformed model, and the one line in it that a user can act on."""

from __future__ import annotations

import re

import onnx_ir as ir
from onnx import checker, shape_inference, version_converter

MALFORMED = (
    ArithmeticError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    checker.ValidationError,
    ir.passes.InvariantError,
    shape_inference.InferenceError,
    version_converter.ConvertError,
)


def reason(error: BaseException) -> str:
    """Return the innermost cause as one line; where onnx's checker names a node as context, with that node's name."""
    while error.__cause__ is not None:
        error = error.__cause__
    message, _, context = str(error).partition("==> Context:")
    text = re.sub(r"^\S+\.(cc|h):\d+: (.*Assertion `.*` failed: )?", "", " ".join(message.split()))
    text = text or type(error).__name__
    node = re.search(r"Bad node spec for node\. Name: (\S+) OpType: \S+", context)
    return f"node {node[1]!r}: {text}" if node else text
