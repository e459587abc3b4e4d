"""`compressctl pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from compressctl.cli.groups import recipe_keys
from compressctl.cli.views import Json, show
from compressctl.container.signature import PACKED
from compressctl.guard import Write, guard
from compressctl.model_folder import model_file


def pack(
    model: Annotated[Path, typer.Argument(help="The ONNX file.", show_default=False)],
    keys: Annotated[dict[str, Any], recipe_keys("threads")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The .ccz file to write. [default: beside the model]", show_default=False),
    ] = None,
    coder: Annotated[
        Literal["auto", "rans", "huffman", "zstd", "lzma"],
        typer.Option(help="Codes the tensors; auto: the best one for each."),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also print what each tensor takes.")] = False,
    as_json: Json = False,
) -> int:
    """Pack a model and its external data into one small file, without loss: entropy coding by tensor.

    # The best coder for each tensor
    compressctl pack model.onnx -o model.ccz

    # The quickest to unpack; what each tensor takes
    compressctl pack model.onnx -o quick.ccz --coder zstd --verbose
    """
    from compressctl.container.pack import pack as run
    from compressctl.container.streams import Coder
    from compressctl.model.save import check_writable
    from compressctl.report.packing import packing_tables

    def reads() -> list[Path]:  # seldom asked for, and much to import
        from compressctl.pipeline.inputs import files_read

        return files_read([model], [])

    target = output or model.with_suffix(PACKED)
    model = model_file(model)
    check_writable(target, force=force, provenance=None, source=model, suffixes=(PACKED,))
    guard(reads, [Write(target, "output", lambda path: True)], force=force)
    result = run(model, target, coder=None if coder == "auto" else Coder[coder.upper()], threads=keys["threads"])
    return show(result, packing_tables(result, verbose=verbose), as_json=as_json)
