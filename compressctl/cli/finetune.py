"""`compressctl finetune`."""

from __future__ import annotations

from typing import Annotated, Any

from compressctl.cli import options as o
from compressctl.cli.run import Shared, runs_recipe
from compressctl.cli.training import trains
from compressctl.passes import finetune as pass_
from compressctl.recipe import COMMAND_LINE, build_recipe


@runs_recipe
@trains
def finetune(
    model: o.Model,
    output: o.Output,
    distil: Annotated[float | None, o.option(pass_.Config, "distil")] = None,
    *,
    training: dict[str, Any],
    shared: Shared,
) -> int:
    """Train a model further on data of yours, from the ONNX or TorchScript file itself.

    compressctl finetune model.onnx -o better.onnx --train images/train --data images/test --metric top1
    """
    content = {
        "model": model,
        "output": output,
        "passes": [{"type": "finetune", **o.given(distil=distil), **training}],
        "on_regression": "keep",  # weights change, nothing else: a difference in speed is chance
    }
    return shared.run(build_recipe({**content, **shared.recipe}, COMMAND_LINE))
