"""Weights of a 2 GB model (24 MatMul, random float32, external data) in few bits, tensor by tensor."""

from __future__ import annotations

import sys

from benchmarks import process
from benchmarks.settings import Settings
from benchmarks.workers.large_model import HIDDEN, WIDTH
from compressctl.model.size import file_bytes

BOUND = 4 * 4 * WIDTH * HIDDEN + 300_000_000  # bytes: four times the largest tensor, and 300 MB
ROWS = {
    "copy": "loaded and saved",
    "int4": "`quantize_weights`, int4, groups of 64 with offsets",
    "cluster": "`cluster`, 16 values a layer, and `store`",
}


def run(settings: Settings) -> list[str]:
    model, output = settings.cache / "large.onnx", settings.cache / "large.compressed.onnx"
    if not model.exists():
        process.run(process.python("benchmarks.workers.large_model", "make", model))
    lines = [
        f"| load, pass, save | seconds | cores used | peak MB | of the bound, {BOUND / 1e6:,.0f} MB | size |",
        "|---|---|---|---|---|---|",
    ]
    commands = []
    before = file_bytes(model)
    for name, title in ROWS.items():
        print(f"  {name}", file=sys.stderr)
        command = process.python("benchmarks.workers.large_model", name, model, output)
        commands.append(command)
        cost = process.run(command)
        if cost.failure is not None:
            lines.append(f"| {title} | failed: {cost.failure} | | | | |")
            continue
        used, memory = cost.cpu_s / cost.wall_s, cost.peak_bytes
        size = file_bytes(output) / before
        lines.append(
            f"| {title} | {cost.wall_s:.0f} | {used:.1f} | {memory / 1e6:,.0f} | {memory / BOUND:.2f} | {size:.3f} |"
        )
        for file in (output, output.with_name(f"{output.name}.data")):
            file.unlink(missing_ok=True)
    return ["\n".join([*lines, "", *(f"    {settings.show(command)}" for command in commands), ""])]
