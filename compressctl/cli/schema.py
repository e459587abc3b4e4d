"""`compressctl schema`."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def schema(
    report: Annotated[bool, typer.Option("--report", help="The schema of the JSON report instead.")] = False,
) -> int:
    """Print the JSON Schema of recipes, for editors and validators.

    # Of recipes: name it in an editor, which then completes keys and shows mistakes
    compressctl schema > recipe.schema.json

    # Of the reports that commands write
    compressctl schema --report > report.schema.json
    """
    if report:
        from compressctl.report.schema import json_schema as report_schema

        print(json.dumps(report_schema(), indent=2))
    else:
        from compressctl.recipe.schema import json_schema

        print(json.dumps(json_schema(), indent=2))
    return 0
