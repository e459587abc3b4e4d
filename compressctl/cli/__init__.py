"""The command line: each command turns its arguments into a recipe or a call, prints the outcome, gives the exit code.

Importing this must stay cheap (`--help`): commands import what they run inside their functions.
"""

from __future__ import annotations

from typing import Annotated

import typer

from compressctl import __version__
from compressctl.cli import (
    bench,
    cluster,
    distill,
    finetune,
    init,
    inspect,
    pack,
    pipeline,
    prune,
    quantize,
    schema,
    simplify,
    store,
    unpack,
)

app = typer.Typer(
    name="compressctl",
    help="Make ONNX and TorchScript models small and fast, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"compressctl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
) -> None:
    """Make ONNX and TorchScript models small and fast, and prove it."""


app.command("init")(init.init)
app.command("quantize")(quantize.quantize)
app.command("prune")(prune.prune)
app.command("cluster")(cluster.cluster)
app.command("distill")(distill.distill)
app.command("finetune")(finetune.finetune)
app.command("simplify")(simplify.simplify)
app.command("store")(store.store)
app.command("pipeline")(pipeline.pipeline)
app.command("pack")(pack.pack)
app.command("unpack")(unpack.unpack)
app.command("bench")(bench.bench)
app.command("inspect")(inspect.inspect)
app.command("schema")(schema.schema)
