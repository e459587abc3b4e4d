"""`compressctl simplify`."""

from __future__ import annotations

from compressctl.cli import options as o
from compressctl.cli.run import Shared, runs_recipe
from compressctl.recipe import COMMAND_LINE, build_recipe


@runs_recipe
def simplify(model: o.Model, output: o.Output, *, shared: Shared) -> int:
    """Rewrite a model into an equal one with fewer nodes: fold BatchNorm, Pad, constants, pairs that cancel.

    # The same answers from fewer nodes
    compressctl simplify model.onnx -o simple.onnx

    # A TorchScript file becomes ONNX on the way
    compressctl simplify model.pt -o converted.onnx --input input:1x1x8x8
    """
    content = {"model": model, "output": output, "passes": [{"type": "simplify"}], "on_regression": "keep"}
    return shared.run(build_recipe({**content, **shared.recipe}, COMMAND_LINE))
