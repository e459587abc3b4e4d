"""Find the groups of a model and cut half of each: python -m benchmarks.workers.structure MODEL OUTPUT."""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np

from compressctl.model.load import load_model
from compressctl.model.save import save_model
from compressctl.model.size import count
from compressctl.simplification.rules import apply_rules
from compressctl.structure.cut import cut
from compressctl.structure.groups import Group, find_groups

MULTIPLE = 16  # channels and neurons go in blocks that onnxruntime's kernels are made for


def main(source: Path, output: Path) -> None:
    """Time and measure; print JSON."""
    model = load_model(source).model
    apply_rules(model)
    seconds: dict[str, float] = {}
    for traced in (False, True):  # tracing costs time
        copy = model.clone()
        if traced:
            tracemalloc.start()
        start = time.perf_counter()
        groups = find_groups(copy)
        seconds.setdefault("find", time.perf_counter() - start)
        removed = {group.name: units for group in groups if len(units := _half(group))}
        start = time.perf_counter()
        cut(copy, groups, removed)
        seconds.setdefault("cut", time.perf_counter() - start)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    save_model(copy, output, overwrite=True)
    print(
        json.dumps(
            {
                **seconds,
                "groups": len(groups),
                "cut_groups": len(removed),
                "peak_of_model": peak / source.stat().st_size,
                "macs": count(copy).macs / count(model).macs,
            }
        )
    )


def _half(group: Group) -> np.ndarray:
    """Return the last half of the units; of channels and neurons a multiple of 16 stays where there are so many."""
    free = np.flatnonzero(~group.fixed)
    stays = group.size // 2
    if group.kind != "head" and stays > MULTIPLE:
        stays -= stays % MULTIPLE
    return free[max(stays - (group.size - len(free)), 1) :] if group.kind != "width" else free[:0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
