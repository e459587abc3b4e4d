"""One table: a model, our command and the rival's, and what each file is worth against FP32."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from benchmarks import process
from benchmarks.judge import Judge
from benchmarks.samples import batches
from benchmarks.settings import Settings
from compressctl.data.walk import standing
from compressctl.measure.latency import LatencyOptions, compare_latency

SECONDS = 20.0  # of latency measurement, all files of a table interleaved
THREADS = 1


@dataclass(frozen=True)
class Contender:
    """A command that writes a file."""

    name: str
    command: list[str]
    output: Path


@dataclass(frozen=True)
class Case:
    """A model to quantize.

    Attributes:
        name: heading of the table.
        model: the FP32 file.
        calibration: samples for both sides, .npz.
        judge: the quality column.
        contenders: ours first.
    """

    name: str
    model: Path
    calibration: Path
    judge: Judge
    contenders: tuple[Contender, ...]


def ours(name: str, model: Path, calibration: Path, *flags: str) -> Contender:
    """Return our command, as a user types it."""
    output = calibration.parent / f"{model.stem}.{_slug(name)}.onnx"
    arguments = ("quantize", model, "-o", output, "--calibrate", calibration, *flags, "--force", "--quiet")
    return Contender(name, process.python("compressctl", *arguments), output)


def static(name: str, model: Path, calibration: Path, *flags: str) -> Contender:
    """Return the rival's quantize_static."""
    output = calibration.parent / f"{model.stem}.{_slug(name)}.onnx"
    arguments = ("static", model, output, "--calibrate", calibration, *flags)
    return Contender(name, process.python("benchmarks.workers.rival_quantize", *arguments), output)


def dynamic(name: str, model: Path, cache: Path, *flags: str) -> Contender:
    """Return the rival's quantize_dynamic."""
    output = cache / f"{model.stem}.{_slug(name)}.onnx"
    return Contender(
        name, process.python("benchmarks.workers.rival_quantize", "dynamic", model, output, *flags), output
    )


def compare(case: Case, settings: Settings) -> str:
    """Run the commands one after the other, then judge and time their files; return a Markdown table."""
    plain = process.run(process.python("benchmarks.workers.plain", case.model, case.calibration))
    costs = [_run(contender) for contender in case.contenders]
    written = [contender.output for contender, cost in zip(case.contenders, costs, strict=True) if cost.failure is None]
    latencies = iter(_latencies(case, written))
    rows = [
        f"| {case.name} | latency | size | {case.judge.heading} | CPU s | of inference | peak MB |",
        "|---|---|---|---|---|---|---|",
        _row("FP32, inference of the samples", "1", "1", case.judge.score(case.model), plain, plain),
    ]
    for contender, cost in zip(case.contenders, costs, strict=True):
        if cost.failure is not None:
            rows.append(f"| {contender.name} | failed: {cost.failure} | | | {cost.cpu_s:.1f} | | |")
            continue
        size = contender.output.stat().st_size / case.model.stat().st_size
        rows.append(
            _row(contender.name, next(latencies), f"{size:.3f}", case.judge.score(contender.output), cost, plain)
        )
    commands = [f"    {settings.show(contender.command)}" for contender in case.contenders]
    return "\n".join([*rows, "", *commands, ""])


def _run(contender: Contender) -> process.Cost:
    print(f"  {contender.name}", file=sys.stderr)
    contender.output.unlink(missing_ok=True)
    return process.run(contender.command)


def _latencies(case: Case, results: Sequence[Path]) -> list[str]:
    with np.load(case.calibration) as file:
        names = [name for name in file.files if name != "labels"]
    walk = standing(next(batches(case.calibration, names, 1)))
    ratios = compare_latency(case.model, results, walk, LatencyOptions(threads=THREADS, seconds=SECONDS))
    return [f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" for ratio in ratios]


def _row(name: str, latency: str, size: str, score: float, cost: process.Cost, plain: process.Cost) -> str:
    quality = f"{score:.2f}" if isfinite(score) else "–"
    ratio, peak = f"{cost.cpu_s / plain.cpu_s:.1f}", f"{cost.peak_bytes / 1e6:,.0f}"
    return f"| {name} | {latency} | {size} | {quality} | {cost.cpu_s:.1f} | {ratio} | {peak} |"


def _slug(name: str) -> str:
    return re.sub(r"\W+", "_", name)
