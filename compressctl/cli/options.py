"""The options that commands share, each defined once; help texts come from the recipe's and the passes' fields."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from compressctl.passes import store
from compressctl.recipe import Recipe


def describe(model: type[BaseModel], field: str) -> str:
    """Return the help text of a field: its description, and its default where it has one that says something."""
    info = model.model_fields[field]
    text = " ".join((info.description or "").split())
    default = info.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != 0:
        return f"{text} [default: {default}]"
    return text


def option(model: type[BaseModel], field: str, *names: str, **extra: Any) -> Any:
    """Return a typer option for a field; the default None means: not given, so the field's own default holds."""
    names = names or (f"--{field.replace('_', '-')}",)
    return typer.Option(*names, help=describe(model, field), show_default=False, **extra)


Model = Annotated[Path, typer.Argument(help=describe(Recipe, "model"), show_default=False)]
Output = Annotated[Path, option(Recipe, "output", "--output", "-o")]
Input = Annotated[list[str] | None, option(Recipe, "input", metavar="NAME:SHAPE[:DTYPE]")]
Calibrate = Annotated[str | None, option(Recipe, "calibrate", metavar="DATA")]
Train = Annotated[str | None, option(Recipe, "train", metavar="DATA")]
Data = Annotated[str | None, option(Recipe, "data", metavar="DATA")]
MetricName = Annotated[str | None, option(Recipe, "metric")]
MaxAccuracyDrop = Annotated[float | None, option(Recipe, "max_accuracy_drop")]
SizeRatio = Annotated[float | None, option(Recipe, "size_ratio")]
LatencyRatio = Annotated[float | None, option(Recipe, "latency_ratio")]
OnRegression = Annotated[str | None, option(Recipe, "on_regression", metavar="take-back|keep")]
BatchSize = Annotated[int | None, option(Recipe, "batch_size")]
Threads = Annotated[int | None, option(Recipe, "threads")]
Seed = Annotated[int | None, option(Recipe, "seed")]
Device = Annotated[str | None, option(Recipe, "device", metavar="cpu|cuda|auto")]
Format = Annotated[str | None, option(store.Config, "format", metavar="auto|dense|codebook|bitmask|gaps|coo|csr")]
ReportPath = Annotated[Path | None, option(Recipe, "report")]
AllowPython = Annotated[bool, typer.Option("--allow-python", help=describe(Recipe, "allow_python"))]
Force = Annotated[bool, typer.Option("--force", help=describe(Recipe, "force"))]
Resume = Annotated[bool, typer.Option("--resume", help=describe(Recipe, "resume"))]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print what was done, node by node.")]


def given(**arguments: Any) -> dict[str, Any]:
    """Return the arguments that were given on the command line: not None, not an empty list, not an unset flag."""
    return {key: value for key, value in arguments.items() if value is not None and value is not False and value != []}
