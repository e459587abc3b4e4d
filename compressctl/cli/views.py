"""How a command shows what came out: the options, and what all commands but those that run a recipe do by them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compressctl.cli.groups import RARE
from compressctl.errors import EXIT_OK

if TYPE_CHECKING:
    from compressctl.report.tables import Table

_GROUP = "Report"

JUnit = Annotated[
    Path | None,
    typer.Option(
        "--junit", rich_help_panel=_GROUP, help="Write the budgets as JUnit XML here, for CI.", show_default=False
    ),
    RARE,
]
Json = Annotated[
    bool, typer.Option("--json", rich_help_panel=_GROUP, help="Print one JSON document on stdout instead of tables.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=_GROUP, help="No progress on stderr.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", rich_help_panel=_GROUP, help="Also print what was done, node by node.")
]


@dataclass(frozen=True)
class Views:
    """Those of a run."""

    junit: JUnit = None
    as_json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False


def show(result: object, tables: Iterable[Table], *, as_json: bool) -> int:
    """Print a result on stdout, as one JSON document or as tables; return the exit code."""
    from compressctl.report.as_json import to_json
    from compressctl.report.console import print_table

    if as_json:
        print(to_json(result))
        return EXIT_OK
    for table in tables:
        print_table(table, sys.stdout)
    return EXIT_OK
