"""Reading reports that were written as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from compressctl.errors import DataError
from compressctl.plain import problem_text
from compressctl.report.schema import SCHEMA_VERSION, Report


def read_report(path: Path) -> Report:
    """Return the report in a JSON file; null stands for numbers that JSON lacks, and is read as NaN.

    Raises:
        DataError: the file cannot be read, is no report, or one of another major version of the schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"report {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not a report: it is not JSON", "give the .report.json of a run") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, str) or "verdict" not in content:
        raise DataError(f"{path} is not the report of a run", "give the .report.json of a run")
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise DataError(
            f"{path} is a report of schema version {version}, and this compressctl reads {SCHEMA_VERSION}",
            "read it with the compressctl that wrote it",
        )
    return _validated(content, path)


def _validated(content: dict[str, Any], path: Path) -> Report:
    adapter = TypeAdapter(Report)
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    for fault in faults:
        if fault["type"] == "float_type" and fault["input"] is None:
            holder: Any = content
            for key in fault["loc"][:-1]:
                holder = holder[key]
            holder[fault["loc"][-1]] = math.nan
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise DataError(f"{path} is not a report: {where}: {problem_text(fault['msg'])}") from error
