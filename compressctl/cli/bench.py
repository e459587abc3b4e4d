"""`compressctl bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from compressctl.cli.groups import recipe_keys
from compressctl.cli.views import Json, Quiet, Verbose
from compressctl.errors import UsageError
from compressctl.guard import Write, guard
from compressctl.measure.metrics import code_of
from compressctl.terminal import terminal_progress


def bench(
    models: Annotated[
        list[Path],
        typer.Argument(help="ONNX, TorchScript or .ccz files, the first the baseline.", show_default=False),
    ],
    keys: Annotated[
        dict[str, Any],
        recipe_keys("input", "state", "data", "metric", "allow_python", "batch_size", "threads", "seed"),
    ],
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="The file that the others are compared with.", show_default=False)
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time limit of the latency measurement.")] = 10.0,
    profile: Annotated[bool, typer.Option("--profile", help="Time per operator and the slowest nodes.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the JSON report here too.", show_default=False)] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a file at --report that is no report of compressctl.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Measure models side by side: size, parameters, MACs, load time, latency, peak memory, accuracy.

    # Two models side by side, on the same samples
    compressctl bench model.onnx student.onnx --data test.npz --metric top1

    # A TorchScript file, as it becomes ONNX
    compressctl bench model.pt --input input:1x1x8x8

    # Where the time goes, at a batch of 8
    compressctl bench model.onnx --profile --batch-size 8 --seconds 1
    """
    from compressctl.comparison import Conditions
    from compressctl.comparison import bench as run
    from compressctl.pipeline.inputs import files_read
    from compressctl.report.as_json import to_json
    from compressctl.report.console import print_bench
    from compressctl.report.write import is_report, write_text

    if not 0 < seconds <= 86400:
        raise UsageError(f"--seconds: give a number above 0 and up to 86400, not {seconds}")
    if report is not None:
        read = [*models, *([] if baseline is None else [baseline])]
        guard(
            lambda: files_read(read, [keys["data"], code_of(keys["metric"])]),
            [Write(report, "report", is_report)],
            force=force,
        )
    with terminal_progress(quiet) as progress:
        result = run(models, Conditions(**keys, seconds=seconds, profile=profile), progress, baseline=baseline)
    if report is not None:
        write_text(report, to_json(result))
    if as_json:
        print(to_json(result))
    else:
        print_bench(result, sys.stdout, verbose=verbose)
    return 0
