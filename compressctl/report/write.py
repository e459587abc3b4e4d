"""Write reports beside the output, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from compressctl.errors import OutputError
from compressctl.report.html import to_html
from compressctl.report.markdown import to_markdown
from compressctl.report.schema import Report, to_json

_RENDERERS = {".json": lambda report: to_json(report) + "\n", ".md": to_markdown, ".html": to_html}


def write_report(report: Report, path: Path) -> None:
    """Write the report as JSON, Markdown and HTML: `path` with the suffixes .json, .md and .html.

    Raises:
        OutputError: a file cannot be written.
    """
    for render, file in zip(_RENDERERS.values(), report_files(path), strict=True):
        write_text(file, render(report))


def report_files(path: Path) -> tuple[Path, ...]:
    """Return the files that `write_report` writes for `path`."""
    return tuple(path.with_suffix(suffix) for suffix in _RENDERERS)


def check_report(path: Path, what: str = "report") -> None:
    """Refuse, before the work, a report, or `what` else is a text file, that cannot be written.

    Raises:
        OutputError: it is a folder, or its folder does not exist or is not writable.
    """
    if not path.parent.is_dir():
        raise OutputError(f"folder {path.parent} of the {what} does not exist", "create it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"folder {path.parent} of the {what} is not writable")
    if path.is_dir():
        raise OutputError(f"the {what} {path} is a folder", "give the name of a file")


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
