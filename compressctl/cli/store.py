"""`compressctl store`."""

from __future__ import annotations

from typing import Annotated

from compressctl.cli import options as o
from compressctl.cli.run import Shared, runs_recipe
from compressctl.passes import store as pass_
from compressctl.recipe import COMMAND_LINE, build_recipe

_C = pass_.Config


@runs_recipe
def store(
    model: o.Model,
    output: o.Output,
    format: o.Format = None,
    include: Annotated[list[str] | None, o.option(_C, "include", metavar="GLOB")] = None,
    exclude: Annotated[list[str] | None, o.option(_C, "exclude", metavar="GLOB")] = None,
    *,
    shared: Shared,
) -> int:
    """Store weights in fewer bytes without loss: few different values as codes, zeros left out.

    # Each weight in the form that takes fewest bytes
    compressctl store model.onnx -o small.onnx

    # One form for all; packed by entropy coding as well
    compressctl store model.onnx -o small.ccz --format codebook
    """
    options = o.given(format=format, include=include, exclude=exclude)
    content = {
        "model": model,
        "output": output,
        "passes": [{"type": "store", **options}],
        "on_regression": "keep",  # the model that runs is the same: a difference in speed is chance
    }
    return shared.run(build_recipe({**content, **shared.recipe}, COMMAND_LINE))
