"""`compressctl simplify`."""

from __future__ import annotations

from compressctl.cli.run import Run


def simplify(shared: Run) -> int:
    """Rewrite a model into an equal one with fewer nodes: fold BatchNorm, Pad, constants, pairs that cancel.

    # The same answers from fewer nodes
    compressctl simplify model.onnx -o simple.onnx

    # A TorchScript file becomes ONNX on the way
    compressctl simplify model.pt -o converted.onnx --input input:1x1x8x8
    """
    return shared.compress([{"type": "simplify"}], on_regression="keep")
