"""CPU time until the help text is there."""

from __future__ import annotations

import statistics
import sys

from benchmarks import process
from benchmarks.settings import Settings

RUNS = 11
COMMANDS = {
    "Python alone": [sys.executable, "-c", "pass"],
    "compressctl": process.python("compressctl", "--help"),
    "compressctl quantize": process.python("compressctl", "quantize", "--help"),
    "ort, pre-processing": process.python("onnxruntime.quantization.preprocess", "--help"),
}


def run(settings: Settings) -> list[str]:
    costs: dict[str, list[process.Cost]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):  # in turn, so that what slows the machine slows all
        for name, command in COMMANDS.items():
            costs[name].append(process.run(command))
    rows = [f"| median of {RUNS} runs | CPU s | peak MB | command |", "|---|---|---|---|"]
    for name, runs in costs.items():
        if failure := next((cost.failure for cost in runs if cost.failure), None):
            rows.append(f"| {name} | failed: {failure} | | |")
            continue
        cpu = statistics.median(cost.cpu_s for cost in runs)
        peak = statistics.median(cost.peak_bytes for cost in runs) / 1e6
        rows.append(f"| {name} | {cpu:.2f} | {peak:.0f} | `{settings.show(COMMANDS[name])}` |")
    return ["\n".join(rows) + "\n"]
