"""A training step on the ONNX graph, next to the native torch module that the graph was exported from."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks import process
from benchmarks.settings import Settings
from benchmarks.workers.training_step import NETWORKS

WORKER = "benchmarks.workers.training_step"


def run(settings: Settings) -> list[str]:
    rows = [
        "| forward, backward, SGD step; quartiles of 12 rounds of 10 | native ms | executor ms | of native"
        " | interpreted, of native | start-up s | peak memory, of native |",
        "|---|---|---|---|---|---|---|",
    ]
    commands = []
    for network in NETWORKS:
        print(f"  {network}", file=sys.stderr)
        timing = process.python(WORKER, network, "time")
        commands.append(timing)
        done = json.loads(subprocess.run(timing, capture_output=True, text=True, check=True).stdout)
        native, executor = (process.run(process.python(WORKER, network, side)) for side in ("native", "executor"))
        quartiles = {side: "{1:.2f} [{0:.2f}, {2:.2f}]".format(*ratios) for side, ratios in done["ratio"].items()}
        rows.append(
            f"| {network} | {done['step']['native'] * 1e3:.1f} | {done['step']['specialize'] * 1e3:.1f}"
            f" | {quartiles['specialize']} | {quartiles['interpret']} | {done['start_up']['specialize']:.2f}"
            f" | {executor.peak_bytes / native.peak_bytes:.2f}"
            f" ({executor.peak_bytes / 1e6:,.0f} / {native.peak_bytes / 1e6:,.0f} MB) |"
        )
    return ["\n".join([*rows, "", *(f"    {settings.show(command)}" for command in commands), ""])]
