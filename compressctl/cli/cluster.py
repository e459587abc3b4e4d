"""`compressctl cluster`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from compressctl.cli import options as o
from compressctl.cli.finetuning import Distil, Finetune, finetuning
from compressctl.cli.run import Shared, runs_recipe
from compressctl.cli.training import trains
from compressctl.passes import cluster as pass_
from compressctl.recipe import COMMAND_LINE, build_recipe

_C = pass_.Config


@runs_recipe
@trains
def cluster(
    model: o.Model,
    output: o.Output,
    clusters: Annotated[int | None, o.option(_C, "clusters", metavar="N")] = None,
    vector: Annotated[int | None, o.option(_C, "vector", metavar="1|2|4|8")] = None,
    scope: Annotated[str | None, o.option(_C, "scope", metavar="layer|group")] = None,
    importance: Annotated[str | None, o.option(_C, "importance", metavar="none|activation|hessian")] = None,
    reconstruct: Annotated[
        bool | None,
        typer.Option("--reconstruct/--no-reconstruct", help=o.describe(_C, "reconstruct"), show_default=False),
    ] = None,
    include: Annotated[list[str] | None, o.option(_C, "include", metavar="GLOB")] = None,
    exclude: Annotated[list[str] | None, o.option(_C, "exclude", metavar="GLOB")] = None,
    format: o.Format = None,
    finetune: Finetune = None,
    distil: Distil = None,
    simplify: Annotated[bool, typer.Option(help="Run the simplify pass first.")] = True,
    *,
    training: dict[str, Any],
    shared: Shared,
) -> int:
    """Let the weights of each layer share few values, store them as codes, and measure what it brought.

    # 16 values in each layer, placed so that layers keep their outputs
    compressctl cluster model.onnx -o small.onnx --clusters 16 --calibrate 'train.npz[:256]'

    # 8 values, trained, and judged
    compressctl cluster model.onnx -o trained.onnx --clusters 8 --finetune train.npz --epochs 2 --data test.npz \\
        --metric top1
    """
    chosen = o.given(
        clusters=clusters, vector=vector, scope=scope, importance=importance, include=include, exclude=exclude
    )
    if reconstruct is not None:
        chosen["reconstruct"] = reconstruct
    trained = finetuning(finetune, distil, training, shared)
    passes = [
        *([{"type": "simplify"}] if simplify else []),  # norms folded later would give each channel values of its own
        {"type": "cluster", **chosen},
        *([trained] if trained else []),
        {"type": "store", **o.given(format=format)},
    ]
    content: dict[str, Any] = {"model": model, "output": output, "passes": passes}
    content["on_regression"] = "keep"  # the user asked for fewer values
    if finetune is not None:
        content["train"] = finetune
    return shared.run(build_recipe({**content, **shared.recipe}, COMMAND_LINE))
