"""Packed models: size and speed beside zstd -19 and xz -9, of models as they are, in 8 bits, and clustered."""

from __future__ import annotations

import lzma
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import zstandard

from benchmarks import process
from benchmarks.settings import MINILM, RESNET20, Settings
from compressctl.container.pack import pack
from compressctl.container.unpack import unpack

INT8 = {RESNET20: ("--scheme", "int8", "--calibrate", "random:16"), MINILM: ("--scheme", "int8-dynamic")}

T = TypeVar("T")


def run(settings: Settings) -> list[str]:
    if reason := settings.missing(RESNET20, MINILM):
        return [f"Skipped: {reason}\n"]
    assert settings.data is not None
    cores = len(os.sched_getaffinity(0))
    lines = [
        "MB/s of the model's bytes, packing / unpacking; .ccz on one core and on all "
        f"({cores}), the others on one. Speeds are those of one run.\n",
        "| file | bytes | .ccz | zstd -19 | xz -9 | over entropy | .ccz, 1 core | all cores | zstd -19 | xz -9 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    commands = []
    for name in (RESNET20, MINILM):
        source, stem = settings.data / name, name.split("_")[0]
        made = {kind: settings.cache / f"{stem}.{kind}.onnx" for kind in ("int8", "clustered")}
        quiet = ("--force", "--quiet", "--on-regression", "keep")
        commands += [
            process.python("compressctl", "quantize", source, "-o", made["int8"], *INT8[name], *quiet),
            process.python("compressctl", "cluster", source, "-o", made["clustered"], "--clusters", "16", *quiet),
        ]
        lines.append(_row(f"{stem}, FP32", source, settings.cache))
        for command, (kind, path) in zip(commands[-2:], made.items(), strict=True):
            cost = process.run(command)
            label = f"{stem}, {kind}"
            lines.append(f"| {label} | failed: {cost.failure} |" if cost.failure else _row(label, path, settings.cache))
    shown = "\n".join(f"    {settings.show(command)}" for command in commands)
    return ["\n".join([*lines, "", shown, ""])]


def _row(label: str, model: Path, cache: Path) -> str:
    print(f"  {label}", file=sys.stderr)
    packed, again = cache / "packed.ccz", cache / "unpacked.onnx"
    speeds = []
    for threads in (1, 0):
        packing, packing_s = _timed(lambda threads=threads: pack(model, packed, threads=threads))
        _, unpacking_s = _timed(lambda threads=threads: unpack(packed, again, force=True, threads=threads))
        speeds.append((packing_s, unpacking_s))
    data = model.read_bytes()
    if again.read_bytes() != data:
        raise RuntimeError(f"{model} did not come back as it was")
    zstd, zstd_s = _timed(lambda: zstandard.ZstdCompressor(level=19).compress(data))
    _, unzstd_s = _timed(lambda: zstandard.ZstdDecompressor().decompress(zstd))
    xz, xz_s = _timed(lambda: lzma.compress(data, preset=9))
    _, unxz_s = _timed(lambda: lzma.decompress(xz))
    speeds += [(zstd_s, unzstd_s), (xz_s, unxz_s)]
    tensors = packing.parts[1:]
    entropy = sum((part.entropy_bits or 0) * (part.elements or 0) for part in tensors) / 8
    over = 100 * (sum(part.packed_bytes for part in tensors) / entropy - 1)
    sizes = " | ".join(f"{size:,} ({size / len(data):.3f})" for size in (packing.packed_bytes, len(zstd), len(xz)))
    columns = " | ".join(f"{len(data) / 1e6 / there:.1f} / {len(data) / 1e6 / back:.0f}" for there, back in speeds)
    return f"| {label} | {len(data):,} | {sizes} | {over:+.2f} % | {columns} |"


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start
