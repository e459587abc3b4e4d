"""`compressctl distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from compressctl.cli import options as o
from compressctl.cli.run import Shared, runs_recipe
from compressctl.cli.training import trains
from compressctl.passes import distill as pass_
from compressctl.recipe import COMMAND_LINE, build_recipe

_C = pass_.Config


@runs_recipe
@trains
def distill(
    model: Annotated[
        Path, typer.Argument(metavar="TEACHER", help="The ONNX or TorchScript file to learn from.", show_default=False)
    ],
    student: Annotated[str, o.option(_C, "student", metavar="FILE|from-teacher:depth=SHARE,width=SHARE")],
    output: o.Output,
    teachers: Annotated[list[Path] | None, o.option(_C, "teachers", "--teacher", metavar="FILE")] = None,
    alpha: Annotated[float | None, o.option(_C, "alpha")] = None,
    temperature: Annotated[float | None, o.option(_C, "temperature")] = None,
    features: Annotated[list[str] | None, o.option(_C, "features", "--feature", metavar="NODE=NODE")] = None,
    attention: Annotated[list[str] | None, o.option(_C, "attention", metavar="NODE=NODE")] = None,
    *,
    training: dict[str, Any],
    shared: Shared,
) -> int:
    """Train a small model to answer like a large one, and measure what was kept.

    # A student of your own, trained on labelled samples
    compressctl distill model.onnx --student student.onnx -o small.onnx --train train.npz --data test.npz \\
        --metric top1 --epochs 2

    # A student cut from the teacher, half as wide
    compressctl distill model.onnx --student from-teacher:width=0.5 -o half.onnx --train train.npz --epochs 2
    """
    chosen = o.given(
        student=student,
        teachers=teachers,
        alpha=alpha,
        temperature=temperature,
        features=features,
        attention=attention,
    )
    content = {
        "model": model,
        "output": output,
        "passes": [{"type": "distill", **chosen, **training}],
        "on_regression": "keep",  # the student was chosen by the user: flag what is slower, do not undo it
    }
    return shared.run(build_recipe({**content, **shared.recipe}, COMMAND_LINE))
