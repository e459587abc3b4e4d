"""The summary of a CI step: GitHub shows what is appended to the file that `GITHUB_STEP_SUMMARY` names."""

from __future__ import annotations

import os
from pathlib import Path

from compressctl.errors import OutputError
from compressctl.guard import Write
from compressctl.report.markdown import to_markdown
from compressctl.report.schema import Report

VARIABLE = "GITHUB_STEP_SUMMARY"


def check_step_summary() -> None:
    """Refuse, before the work, a summary that cannot be appended to.

    Raises:
        OutputError: the variable names no file that can be written.
    """
    _append("")


def step_summary_writes() -> list[Write]:
    """Return the summary, for `guard`: it grows, so what is in it stays."""
    name = os.environ.get(VARIABLE)
    return [Write(Path(name), VARIABLE, lambda path: True)] if name else []


def append_step_summary(report: Report) -> None:
    """Append the report as Markdown where CI asks for it.

    Raises:
        OutputError: the file cannot be written.
    """
    _append(to_markdown(report) + "\n")


def _append(text: str) -> None:
    if not (name := os.environ.get(VARIABLE)):
        return
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{VARIABLE}: {name} cannot be written: {error.strerror}", f"unset {VARIABLE}") from error
