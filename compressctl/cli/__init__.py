"""The command line: each command turns its arguments into a recipe or a call, prints the outcome, gives the exit code.

Importing this must stay cheap (`--help`): commands import what they run inside their functions.
"""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from compressctl import __version__
from compressctl.cli import (
    bench,
    cluster,
    diff,
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
from compressctl.cli.help import Command

app = typer.Typer(
    name="compressctl",
    help="Make ONNX and TorchScript models small and fast, and prove it.",
    no_args_is_help=True,
    add_completion=True,
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


_command = functools.partial(app.command, cls=Command)
_command("init")(init.init)
_command("quantize")(quantize.quantize)
_command("prune")(prune.prune)
_command("cluster")(cluster.cluster)
_command("distill")(distill.distill)
_command("finetune")(finetune.finetune)
_command("simplify")(simplify.simplify)
_command("store")(store.store)
_command("pipeline")(pipeline.pipeline)
_command("pack")(pack.pack)
_command("unpack")(unpack.unpack)
_command("bench")(bench.bench)
_command("diff")(diff.diff)
_command("inspect")(inspect.inspect)
_command("schema")(schema.schema)
