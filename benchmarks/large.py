"""Whole commands on large models, with measuring and without: memory of all their processes together, and time.

An MLP of 8 layers of random weights, in one file where it is below 2 GB, and with external data.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

from benchmarks import process
from benchmarks.settings import Settings

SIZES = {"0.5 GB, one file": (4096, "embedded"), "0.5 GB": (4096, "external"), "2.1 GB": (8192, "external")}
SCHEMES = ("int4", "int8-dynamic")
SHARE, SPARE = 1.3, 400_000_000  # of the file and bytes, that a command may take
UNMEASURED = 600_000_000  # bytes beyond the largest tensor, where nothing is measured
LAYERS = 8


def run(settings: Settings) -> list[str]:
    lines = ["| model | scheme | CPU s | seconds | peak MB | of the bound |", "|---|---|---|---|---|---|"]
    commands = []
    for title, (width, kind) in SIZES.items():
        model = settings.cache / f"mlp_{width}_{kind}.onnx"
        if not model.exists():
            process.run(process.python("benchmarks.workers.mlp", model, str(width), kind))
        bounds = {"": SHARE * 4 * LAYERS * width**2 + SPARE, "--no-measure": UNMEASURED + 4 * width**2}
        for scheme, (measuring, bound) in product(SCHEMES, bounds.items()):
            print(f"  {title}, {scheme} {measuring}", file=sys.stderr)
            output = settings.cache / "mlp.compressed.onnx"
            options = ["--scheme", scheme, *measuring.split(), "--threads", "1", "--force", "--quiet"]
            command = process.python("compressctl", "quantize", model, "-o", output, *options)
            commands.append(command)
            cost = process.run(command)
            peak = f"{cost.peak_bytes / 1e6:,.0f} | {cost.peak_bytes / bound:.2f}"
            failed = "" if cost.failure is None else f" (failed: {cost.failure})"
            lines.append(f"| {title} | {scheme} {measuring}{failed} | {cost.cpu_s:.0f} | {cost.wall_s:.0f} | {peak} |")
            _remove(output)
    return ["\n".join([*lines, "", *(f"    {settings.show(command)}" for command in commands), ""])]


def _remove(output: Path) -> None:
    for file in output.parent.glob(f"{output.stem}.*"):
        file.unlink()
