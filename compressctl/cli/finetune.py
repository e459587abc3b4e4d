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

    # On labelled samples
    compressctl finetune model.onnx -o better.onnx --train train.npz --data test.npz --metric top1 --epochs 2

    # An interrupted run goes on from its checkpoint
    compressctl finetune model.onnx -o better.onnx --train train.npz --data test.npz --metric top1 --epochs 2 --resume
    """
    content = {
        "model": model,
        "output": output,
        "passes": [{"type": "finetune", **o.given(distil=distil), **training}],
        "on_regression": "keep",  # weights change, nothing else: a difference in speed is chance
    }
    return shared.run(build_recipe({**content, **shared.recipe}, COMMAND_LINE))
