"""The options of how a command shows what came out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from compressctl.cli.groups import RARE

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
