"""What the report of a run says, as the cells of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Report = dict[str, Any]


def read(output: Path) -> Report:
    """Return the report beside an output."""
    found: Report = json.loads(output.with_suffix(".report.json").read_text())
    return found


def score(measured: Mapping[str, Any]) -> str:
    """Return the score of the input or the output of a report, in points."""
    return f"{100 * measured['score']['value']:.2f}"


def drop(report: Report) -> str:
    """Return by how much the score fell, in points, with its interval."""
    figures = {key: 100 * report["output"]["drop"][key] for key in ("drop", "low", "high")}
    return "{drop:+.2f} [{low:+.2f}, {high:+.2f}]".format(**figures)


def ratio(latency_ratio: Mapping[str, float]) -> str:
    """Return a latency ratio with its interval."""
    return "{value:.2f} [{low:.2f}, {high:.2f}]".format(**latency_ratio)
