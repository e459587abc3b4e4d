"""Write reports beside the output, whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from compressctl.guard import Write, descriptor_of, is_stream
from compressctl.model.staging import move_into_place, reported, staging, sync
from compressctl.report.as_json import to_json
from compressctl.report.html import TITLE, to_html
from compressctl.report.markdown import MEASURED_ON, to_markdown
from compressctl.report.schema import Report

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


def report_writes(path: Path) -> list[Write]:
    """Return what `write_report` writes for `path`, for `guard`."""
    return [Write(file, "report", is_report) for file in report_files(path)]


def is_report(path: Path) -> bool:
    """Whether a file is a report that compressctl wrote, in the form that its name says."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else None
    except (OSError, ValueError, RecursionError):
        return False
    if path.suffix == ".md":
        return text.startswith("# ") and MEASURED_ON in text and "With compressctl " in text
    if path.suffix == ".html":
        return TITLE in text
    return isinstance(content, dict) and {"schema_version", "machine", "versions"} <= content.keys()


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; what is no file (/dev/stdout, a named pipe) is written to as it is.

    Raises:
        OutputError: the file cannot be written; what was there before is intact.
    """
    if is_stream(path):
        with reported(path), _opened(path) as stream:
            stream.write(text)
    else:
        _write({path: text})


def _opened(stream: Path) -> TextIO:
    """Open a stream; of a file that is open already, where it is: opened anew, it would be written from its start."""
    descriptor = descriptor_of(stream)
    if descriptor is None:
        return stream.open("a", encoding="utf-8")
    sys.stdout.flush()
    return os.fdopen(os.dup(descriptor), "w", encoding="utf-8")


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
