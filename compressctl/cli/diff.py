"""`compressctl diff`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from compressctl.cli.groups import recipe_keys
from compressctl.cli.views import Json, Quiet, Verbose, show
from compressctl.errors import UsageError
from compressctl.tensorspec import parse_tensor_specs
from compressctl.terminal import terminal_progress

_REPORT = ".json"
_SECONDS = 4.0  # of the latency measurement, for each model


def diff(
    a: Annotated[Path, typer.Argument(help="A .report.json, or an ONNX, TorchScript or .ccz file.")],
    b: Annotated[Path, typer.Argument(help="What it is compared with, of the same kind.")],
    keys: Annotated[
        dict[str, Any],
        recipe_keys("input", "state", "data", "metric", "allow_python", "batch_size", "threads", "seed"),
    ],
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Put two reports or two models side by side. Models are also measured where samples are given.

    # What another recipe brought, and what was different in it
    compressctl diff monday.report.json tuesday.report.json

    # Operators, weights and their errors, and both measured
    compressctl diff model.onnx quantized.onnx --data test.npz --metric top1
    """
    kinds = {path.suffix == _REPORT for path in (a, b)}
    if len(kinds) == 2:
        raise UsageError(f"{a} and {b} cannot be compared: one is a report", "give two reports or two models")
    if kinds == {True}:
        if any(keys[name] for name in ("data", "metric", "input", "state")):
            raise UsageError(f"{a} is a report: --data, --metric, --input and --state are for models", "leave them out")
        return _reports(a, b, as_json=as_json)
    if keys["metric"] and not keys["data"]:
        raise UsageError("--metric needs data to be measured on", "add --data D")
    from compressctl.comparison import Conditions, bench
    from compressctl.report.diff_tables import model_tables
    from compressctl.report.model_diff import diff_models

    found = diff_models(a, b, parse_tensor_specs(keys["input"]), threads=keys["threads"])
    if keys["data"]:
        with terminal_progress(quiet) as progress:
            measured = bench((a, b), Conditions(**keys, seconds=_SECONDS), progress)
        found = replace(found, measured=measured)
    return show(found, model_tables(found, verbose=verbose), as_json=as_json)


def _reports(a: Path, b: Path, *, as_json: bool) -> int:
    from compressctl.report.console import print_notes
    from compressctl.report.diff import diff_reports
    from compressctl.report.diff_tables import report_tables
    from compressctl.report.read import read_report

    found = diff_reports(read_report(a), read_report(b), (str(a), str(b)))
    code = show(found, report_tables(found), as_json=as_json)
    if not as_json:
        print_notes(found.notes, sys.stdout)
    return code
