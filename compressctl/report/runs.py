"""Several runs of one recipe file side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressctl.errors import EXIT_BUDGET, EXIT_FAULT, EXIT_OK, EXIT_UNUSABLE, EXIT_USAGE, CompressctlError
from compressctl.report.as_json import to_json
from compressctl.report.formatting import drop, ratio, score, si, times
from compressctl.report.schema import Report
from compressctl.report.tables import Table

_WORST_LAST = (EXIT_OK, EXIT_BUDGET, EXIT_USAGE, EXIT_UNUSABLE, EXIT_FAULT)


@dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        output: what it was to write.
        report: or None, where it failed, and in processes that do not report.
        error: why it failed, or None.
        up_to_date: nothing was done, because nothing changed since the run that wrote the report.
    """

    output: Path
    report: Report | None = None
    error: CompressctlError | None = None
    up_to_date: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code of a command that does this run alone."""
        if self.error is not None:
            return self.error.exit_code
        missed = self.report is not None and self.report.verdict == "budget missed"
        return EXIT_BUDGET if missed else EXIT_OK


def worst(runs: Sequence[Ended]) -> int:
    """Return the exit code of all runs together: of an error, else of a missed budget, else 0."""
    return max((run.exit_code for run in runs), key=_WORST_LAST.index, default=EXIT_OK)


def side_by_side(runs: Sequence[Ended]) -> Table:
    """One line a run; runs that failed say only that."""
    header = ("", "size", "of the input", "latency", "metric", "drop", "verdict")
    return Table("Runs", header, tuple(_row(run) for run in runs))


def runs_to_json(runs: Sequence[Ended]) -> str:
    """Return one JSON document: each report, or for a run that failed its output, error, hint and exit code."""
    return json.dumps({"runs": [_content(run) for run in runs if run.report or run.error]}, indent=2)


def _row(run: Ended) -> tuple[str, ...]:
    report = run.report
    if report is None:
        return (str(run.output), "", "", "", "", "", f"failed: {run.error.message}" if run.error else "")
    after = report.output
    return (
        str(run.output),
        si(after.bytes, "B"),
        times(after.size_ratio),
        ratio(after.latency_ratio),
        score(report.metric, after.score),
        drop(report.metric, after.drop) if after.drop else "",
        f"{report.verdict}, up to date" if run.up_to_date else report.verdict,
    )


def _content(run: Ended) -> Any:
    if run.report is not None:
        return json.loads(to_json(run.report))
    assert run.error is not None
    error = run.error
    return {"output": str(run.output), "error": error.message, "hint": error.hint, "exit_code": error.exit_code}
