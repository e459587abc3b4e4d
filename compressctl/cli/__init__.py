"""The command line: each command turns its arguments into a recipe or a call, prints the outcome, gives the exit code.

Importing this must stay cheap (`--help`): commands import what they run inside their functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from compressctl import __version__
from compressctl.cli import (
    bench,
    cluster,
    diff,
    distill,
    init,
    inspect,
    pack,
    pipeline,
    prune,
    quantize,
    schema,
    unpack,
)
from compressctl.cli.groups import command
from compressctl.cli.help import Command, synopsis
from compressctl.cli.pass_command import pass_command

_COMMANDS: tuple[Callable[..., int], ...] = (
    init.init,
    quantize.quantize,
    prune.prune,
    cluster.cluster,
    distill.distill,
    pass_command("finetune", "Train a model further on data of yours, from the ONNX or TorchScript file itself."),
    pass_command(
        "simplify",
        "Rewrite a model into an equal one with fewer nodes: fold BatchNorm, Pad, constants, pairs that cancel.",
    ),
    pass_command("store", "Store weights in fewer bytes without loss: few different values as codes, zeros left out."),
    pipeline.pipeline,
    pack.pack,
    unpack.unpack,
    bench.bench,
    diff.diff,
    inspect.inspect,
    schema.schema,
)


class Commands(Mapping[str, Command]):
    """The commands by name. One is made when it is asked for: what its options stand for is imported then."""

    def __getitem__(self, name: str) -> Command:
        function = next((function for function in _COMMANDS if function.__name__ == name), None)
        if function is None:
            raise KeyError(name)
        return command(function)

    def __iter__(self) -> Iterator[str]:
        return (function.__name__ for function in _COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Group(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(function.__name__, synopsis(function)) for function in _COMMANDS])


app = typer.Typer(
    name="compressctl",
    cls=_Group,
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
