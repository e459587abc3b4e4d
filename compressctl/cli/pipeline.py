"""`compressctl pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressctl.cli import options as o
from compressctl.cli.run import run_recipe
from compressctl.recipe import Recipe, load_recipe


def pipeline(
    recipe: Annotated[Path, typer.Argument(help="The YAML recipe to run.", show_default=False)],
    model: Annotated[Path | None, o.option(Recipe, "model")] = None,
    output: Annotated[Path | None, o.option(Recipe, "output", "--output", "-o")] = None,
    input: o.Input = None,
    calibrate: o.Calibrate = None,
    data: o.Data = None,
    metric: o.MetricName = None,
    max_accuracy_drop: o.MaxAccuracyDrop = None,
    size_ratio: o.SizeRatio = None,
    latency_ratio: o.LatencyRatio = None,
    on_regression: o.OnRegression = None,
    batch_size: o.BatchSize = None,
    threads: o.Threads = None,
    seed: o.Seed = None,
    device: o.Device = None,
    report: o.ReportPath = None,
    allow_python: o.AllowPython = False,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> int:
    """Run the passes of a recipe; flags replace the recipe's keys of the same name.

    compressctl pipeline recipes/int8.yaml --model model.onnx -o small.onnx
    """
    overrides = o.given(
        model=model,
        output=output,
        input=input,
        calibrate=calibrate,
        data=data,
        metric=metric,
        max_accuracy_drop=max_accuracy_drop,
        size_ratio=size_ratio,
        latency_ratio=latency_ratio,
        on_regression=on_regression,
        batch_size=batch_size,
        threads=threads,
        seed=seed,
        device=device,
        report=report,
        allow_python=allow_python,
        force=force,
    )
    return run_recipe(load_recipe(recipe, overrides), as_json=as_json, quiet=quiet, verbose=verbose)
