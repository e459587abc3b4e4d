"""`compressctl init`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from compressctl.choices import StarterGoal
from compressctl.cli.groups import recipe_keys
from compressctl.cli.views import Json
from compressctl.errors import OutputError
from compressctl.guard import Write, guard
from compressctl.measure.metrics import code_of
from compressctl.model_folder import model_file
from compressctl.plain import plain


def init(
    model: Annotated[Path, typer.Argument(help="An ONNX, TorchScript or .ccz file.", show_default=False)],
    keys: Annotated[dict[str, Any], recipe_keys("input", "calibrate", "train", "data", "metric", "allow_python")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The recipe to write; -: to stdout. [default: NAME.yaml of the model, in this folder]",
            show_default=False,
        ),
    ] = None,
    goal: Annotated[
        StarterGoal,
        typer.Option(help="fast: INT8 arithmetic; small: weights of 4 bits, as fast as before; both: 4 bits on INT8."),
    ] = "fast",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the recipe.")] = False,
    as_json: Json = False,
) -> int:
    """Write a commented recipe to start from, after a look at the model and its samples.

    # Look at the model and its samples, and write model.yaml
    compressctl init model.onnx --calibrate train.npz --data test.npz

    # A recipe for the smallest file, on stdout
    compressctl init model.onnx --goal small -o -

    # A TorchScript file does not tell its inputs
    compressctl init model.pt --input input:1x1x8x8 -o scripted.yaml
    """
    from pydantic import TypeAdapter

    from compressctl.pipeline.inputs import files_read
    from compressctl.report.console import print_table
    from compressctl.report.write import write_text
    from compressctl.starter.build import Given, Starter, found, starter

    model, to_stdout = model_file(model), output == Path("-")
    recipe = output if output is not None and not to_stdout else Path(f"{model.stem}.yaml")
    if not to_stdout and recipe.exists() and not force:
        raise OutputError(f"{recipe} exists already", "--force replaces it, -o names another, -o - prints it")
    if not to_stdout:
        read = [keys["calibrate"], keys["train"], keys["data"], code_of(keys["metric"])]
        guard(lambda: files_read([model], read), [Write(recipe, "recipe")], force=force)
    command = shlex.join(
        ["compressctl", "pipeline", str(recipe), *(["--allow-python"] if keys["allow_python"] else [])]
    )
    result = starter(model, Given(**keys), command=command, goal=goal)
    if to_stdout:
        print(result.text, end="")
        return 0
    write_text(recipe, result.text)
    if as_json:
        print(json.dumps({"recipe": str(recipe)} | TypeAdapter(Starter).dump_python(result, mode="json"), indent=2))
        return 0
    print_table(found(result), sys.stdout)
    for note in result.notes:
        print(plain(f"{note.kind}: {note.text}"))
    print(f"\n{plain(str(recipe))} is written. Read it, then run it:\n  {plain(command)}")
    return 0
