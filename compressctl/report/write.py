"""Write reports beside the output, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from compressctl.errors import OutputError
from compressctl.report.markdown import to_markdown
from compressctl.report.schema import Report, to_json
from compressctl.report.sensitivity import to_svg


def write_report(report: Report, path: Path) -> None:
    """Write `path` as JSON (its suffix set to .json) and the same report as Markdown beside it.

    The sensitivity of layers, where a pass measured it, is drawn into `<name>.sensitivity.svg`, the name being that of
    the report without `.report.json`; a second pass gets `<name>.sensitivity2.svg`, and so on.

    Raises:
        OutputError: a file cannot be written.
    """
    write_text(path.with_suffix(".json"), to_json(report) + "\n")
    write_text(path.with_suffix(".md"), to_markdown(report))
    tables = [table for item in report.passes if (table := item.facts.get("sensitivity"))]
    for number, table in enumerate(tables, 1):
        name = f"{path.stem.removesuffix('.report')}.sensitivity{number if number > 1 else ''}.svg"
        write_text(path.with_name(name), to_svg(table))


def check_report(path: Path) -> None:
    """Refuse, before the work, a report that cannot be written.

    Raises:
        OutputError: its folder does not exist or is not writable.
    """
    if not path.parent.is_dir():
        raise OutputError(f"folder {path.parent} of the report does not exist", "create it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"folder {path.parent} of the report is not writable")


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
