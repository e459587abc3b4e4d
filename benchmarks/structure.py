"""Finding what can be cut together, and cutting half of it: time, memory, and what it brings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import process
from benchmarks.models import bert_base, resnet50
from benchmarks.settings import RESNET20, Settings
from compressctl.data.walk import standing
from compressctl.measure.latency import LatencyOptions, compare_latency


def run(settings: Settings) -> list[str]:
    rng = np.random.default_rng(0)
    tokens = {name: np.ones((1, 128), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    cases: dict[str, tuple[Path, Mapping[str, NDArray[Any]]]] = {}
    if settings.data and not settings.missing(RESNET20):
        cases["ResNet-20"] = settings.data / RESNET20, {"input": rng.standard_normal((8, 3, 32, 32), np.float32)}
    for name, module in {"ResNet-50": resnet50, "BERT-base": bert_base}.items():
        path = settings.cache / f"{module.__name__.rpartition('.')[2]}.onnx"
        if not path.exists():
            module.build(path)
        image = {"input": rng.standard_normal((1, 3, 224, 224), np.float32)}
        cases[f"{name}, untrained"] = path, image if module is resnet50 else tokens
    rows = [
        "| half of each group, norms' width left | groups | of them cut | find s | cut s | peak memory, of model | MACs"
        " | latency ratio, 1 thread |",
        "|---|---|---|---|---|---|---|---|",
    ]
    commands = []
    for name, (path, feeds) in cases.items():
        print(f"  {name}", file=sys.stderr)
        output = settings.cache / f"{path.stem}.half.onnx"
        commands.append(process.python("benchmarks.workers.structure", path, output))
        done = json.loads(subprocess.run(commands[-1], capture_output=True, text=True, check=True).stdout)
        (latency,) = compare_latency(path, [output], standing(feeds), LatencyOptions(threads=1))
        rows.append(
            f"| {name} | {done['groups']} | {done['cut_groups']} | {done['find']:.2f} | {done['cut']:.2f}"
            f" | {done['peak_of_model']:.2f} | {done['macs']:.2f}"
            f" | {latency.ratio:.2f} [{latency.low:.2f}, {latency.high:.2f}] |"
        )
    return ["\n".join([*rows, "", *(f"    {settings.show(command)}" for command in commands), ""])]
