"""Write reports beside the output, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from compressctl.errors import OutputError
from compressctl.model.staging import move_into_place, reported, staging, sync
from compressctl.report.html import to_html
from compressctl.report.markdown import to_markdown
from compressctl.report.schema import Report, to_json

_RENDERERS = {".json": lambda report: to_json(report) + "\n", ".md": to_markdown, ".html": to_html}


def write_report(report: Report, path: Path) -> None:
    """Write the report as JSON, Markdown and HTML: `path` with the suffixes .json, .md and .html.

    Raises:
        OutputError: a file cannot be written.
    """
    _write({file: render(report) for render, file in zip(_RENDERERS.values(), report_files(path), strict=True)})


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
    """Write a text file, whole or not at all; what is no file (/dev/stdout, a named pipe) is written to as it is.

    Raises:
        OutputError: the file cannot be written; what was there before is intact.
    """
    if path.exists() and not path.is_file():
        with reported(path):
            path.write_text(text, encoding="utf-8")
    else:
        _write({path: text})


def _write(texts: Mapping[Path, str]) -> None:
    """Write text files of one folder; the first one last, as it is what programs read."""
    files = list(texts)[::-1]
    with staging(files[-1]) as folder:
        staged = [folder / file.name for file in files]
        for file, target in zip(staged, files, strict=True):
            with file.open("xb") as out:
                out.write(texts[target].encode())
                sync(out)
        move_into_place(staged, files)
