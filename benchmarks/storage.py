"""Forms of storage: bytes, load time and latency beside FP32."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process, reports
from benchmarks.models import model_file
from benchmarks.settings import RESNET20, Settings


@dataclass(frozen=True)
class Row:
    """One line of a table: how the file is made. No quality is told: weights are chosen by magnitude or rounded."""

    name: str
    command: str
    flags: tuple[str, ...]


def pruned(zeros: str, form: str) -> Row:
    """Return a line of zeros by magnitude, all of them in one form."""
    flags = ("--structure", "none", "--importance", "magnitude", "--ratio", zeros, "--format", form)
    return Row(f"{round(100 * float(zeros))} % zeros, {form}", "prune", flags)


ROWS = (
    Row("FP32", "simplify", ()),
    Row("FP16", "quantize", ("--scheme", "fp16")),
    Row("codebook of 256", "cluster", ("--clusters", "256")),
    Row("codebook of 16", "cluster", ("--clusters", "16")),
    Row("ternary", "quantize", ("--scheme", "ternary")),
    Row("1 bit", "quantize", ("--scheme", "int1")),
    *(pruned("0.5", form) for form in ("bitmask", "coo")),
    *(pruned("0.9", form) for form in ("bitmask", "delta-index", "csr", "coo")),
)


def run(settings: Settings) -> list[str]:
    tables = [_table("ResNet-50, random weights", model_file("resnet50", settings.cache), settings)]
    if reason := settings.missing(RESNET20):
        return [*tables, f"ResNet-20 skipped: {reason}\n"]
    assert settings.data is not None
    return [*tables, _table("ResNet-20", settings.data / RESNET20, settings)]


def _table(title: str, model: Path, settings: Settings) -> str:
    """Make the files, and time them all together: the first one, FP32, is what the others are compared with."""
    lines = [f"| {title} | bytes | size | load | latency |", "|---|---|---|---|---|"]
    made, commands = {}, []
    for number, row in enumerate(ROWS):
        print(f"  {title}: {row.name}", file=sys.stderr)
        output = settings.cache / f"{model.stem}.stored{number}.onnx"
        command = process.python("compressctl", row.command, model, "-o", output, *row.flags, "--force", "--quiet")
        commands.append(command)
        cost = process.run(command)
        if cost.failure is None:
            made[str(output)] = row.name
        else:
            lines.append(f"| {row.name} | failed: {cost.failure} | | | |")
    report = settings.cache / f"{model.stem}.stored.json"
    timed = process.python("compressctl", "bench", *made, "--threads", "1", "--report", report, "--quiet")
    cost = process.run(timed)
    if cost.failure is not None:
        return f"{title} failed: {cost.failure}\n"
    first, *others = json.loads(report.read_text())["models"]
    lines.append(f"| FP32 | {first['bytes']:,} | 1 | 1 | 1 |")
    for found in others:
        load = found["latency"]["load_ms"] / first["latency"]["load_ms"]
        latency = reports.ratio(found["latency_ratio"])
        cells = f"{found['bytes']:,} | {found['size_ratio']:.3f} | {load:.2f} | {latency}"
        lines.append(f"| {made[found['path']]} | {cells} |")
    return "\n".join([*lines, "", *(f"    {settings.show(command)}" for command in (*commands, timed)), ""])
