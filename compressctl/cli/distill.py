"""`compressctl distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from compressctl.cli.groups import passes
from compressctl.cli.run import Run


def distill(
    model: Annotated[
        Path, typer.Argument(metavar="TEACHER", help="The ONNX or TorchScript file to learn from.", show_default=False)
    ],
    shared: Run,
    chosen: Annotated[dict[str, Any], passes("distill")],
) -> int:
    """Train a small model to answer like a large one, and measure what was kept.

    # A student of your own, trained on labelled samples
    compressctl distill model.onnx --student student.onnx -o small.onnx --train train.npz --data test.npz \\
        --metric top1 --epochs 2

    # A student cut from the teacher, half as wide
    compressctl distill model.onnx --student from-teacher:width=0.5 -o half.onnx --train train.npz --epochs 2
    """
    # The student was chosen by the user: flag what is slower, do not undo it.
    return shared.compress([{"type": "distill", **chosen}], model=model, on_regression="keep")
