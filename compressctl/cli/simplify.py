"""`compressctl simplify`."""

from __future__ import annotations

from compressctl.cli import options as o
from compressctl.cli.run import run_recipe
from compressctl.recipe import COMMAND_LINE, build_recipe


def simplify(
    model: o.Model,
    output: o.Output,
    input: o.Input = None,
    data: o.Data = None,
    metric: o.MetricName = None,
    batch_size: o.BatchSize = None,
    threads: o.Threads = None,
    seed: o.Seed = None,
    report: o.ReportPath = None,
    allow_python: o.AllowPython = False,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> int:
    """Rewrite a model into an equal one with fewer nodes: fold BatchNorm, Pad, constants, pairs that cancel.

    compressctl simplify model.onnx -o simple.onnx
    """
    content = o.given(
        model=model,
        output=output,
        input=input,
        data=data,
        metric=metric,
        passes=[{"type": "simplify"}],
        on_regression="keep",
        batch_size=batch_size,
        threads=threads,
        seed=seed,
        report=report,
        allow_python=allow_python,
        force=force,
    )
    return run_recipe(build_recipe(content, COMMAND_LINE), as_json=as_json, quiet=quiet, verbose=verbose)
