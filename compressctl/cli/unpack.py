"""`compressctl unpack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from compressctl.cli.groups import recipe_keys
from compressctl.cli.views import Json, show


def unpack(
    packed: Annotated[Path, typer.Argument(help="The .ccz file.", show_default=False)],
    keys: Annotated[dict[str, Any], recipe_keys("threads")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The ONNX file to write. [default: beside the file]", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
    as_json: Json = False,
) -> int:
    """Unpack a model, byte for byte as it was; external data go beside it under their own names.

    # The ONNX file that was packed
    compressctl unpack packed.ccz -o again.onnx

    # For a script: what was written, as JSON
    compressctl unpack packed.ccz -o again.onnx --force --json
    """
    from compressctl.container.unpack import unpack as run
    from compressctl.report.packing import unpacking_table

    result = run(packed, output or packed.with_suffix(".onnx"), force=force, threads=keys["threads"])
    return show(result, [unpacking_table(result)], as_json=as_json)
