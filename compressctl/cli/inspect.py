"""`compressctl inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from compressctl.cli.groups import recipe_keys
from compressctl.cli.views import Json, show


def inspect(
    model: Annotated[Path, typer.Argument(help="An ONNX, TorchScript or .ccz file.", show_default=False)],
    keys: Annotated[dict[str, Any], recipe_keys("input")],
    as_json: Json = False,
) -> int:
    """List a model's layers: shapes, parameters, bytes, MACs, and what each pass could do to them.

    # Tables of layers and of what could be done
    compressctl inspect model.onnx

    # The same as JSON, at a size of what is dynamic
    compressctl inspect model.onnx --input input:1x1x8x8 --json
    """
    from compressctl.inspection import inspect_model
    from compressctl.report.inspection import tables

    inspection = inspect_model(model, keys["input"])
    return show(inspection, tables(inspection), as_json=as_json)
