"""Recipes that train, run over seeds and threads: what they lose on average and at worst, beside their own budgets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks import process, reports
from benchmarks.settings import Settings

RECIPES = Path(__file__).parents[1] / "recipes"
LONGEST = "distill_prune_quantize"  # three steps lose something, one after the other: it gets the most runs


@dataclass(frozen=True)
class Run:
    """One run of a recipe; drop in points, size and latency as ratios, and whether it kept every budget."""

    seed: int
    threads: int
    drop: float
    size: float
    latency: float
    kept: bool


def run(settings: Settings) -> list[str]:
    found = {path.stem: runs(path, settings) for path in sorted(RECIPES.glob("*.yaml")) if _trains(path)}
    return tables(found)


def runs(path: Path, settings: Settings) -> list[Run]:
    """Run a recipe with each seed and number of threads."""
    seeds, threads = (range(10), (1, 2)) if path.stem == LONGEST else (range(5), (1,))
    return [_run(path, seed, count, settings) for seed in seeds for count in threads]


def tables(found: dict[str, list[Run]]) -> list[str]:
    """Return what all recipes lose, and each run of the longest one."""
    lines = [
        "| recipe | budget, points | mean drop | worst | largest size, x | kept all budgets |",
        "|---|---|---|---|---|---|",
        *(_row(name, each) for name, each in found.items()),
        "",
    ]
    each = [f"| {LONGEST}: seed | threads | drop, points | size, x | latency, x |", "|---|---|---|---|---|"]
    each += [f"| {r.seed} | {r.threads} | {r.drop:+.2f} | {r.size:.4f} | {r.latency:.2f} |" for r in found[LONGEST]]
    return ["\n".join(lines), "\n".join([*each, ""])]


def _row(name: str, each: Sequence[Run]) -> str:
    drops = [one.drop for one in each]
    budget = 100 * _content(RECIPES / f"{name}.yaml")["max_accuracy_drop"]
    cells = [name, f"{budget:g}", f"{np.mean(drops):+.2f}", f"{max(drops):+.2f}", f"{max(r.size for r in each):.3f}"]
    return f"| {' | '.join(cells)} | {sum(one.kept for one in each)} of {len(each)} runs |"


def _run(path: Path, seed: int, threads: int, settings: Settings) -> Run:
    print(f"  {path.stem}: seed {seed}, threads {threads}", file=sys.stderr)
    output = settings.cache / f"{path.stem}{Path(_content(path)['output']).suffix}"
    report = output.with_suffix(".report.json")
    report.unlink(missing_ok=True)
    flags = ("--set", f"seed={seed}", "--threads", f"{threads}", "--force", "--quiet", "--no-cache")
    cost = process.run(process.python("compressctl", "pipeline", path, "-o", output, *flags))
    if not report.exists():  # a missed budget has a report too
        raise RuntimeError(f"{path.name}: {cost.failure}")
    found = reports.read(output)
    after = found["output"]
    kept = all(verdict["met"] for verdict in found["budgets"])
    drop, latency = 100 * after["drop"]["drop"], after["latency_ratio"]["value"]
    return Run(seed, threads, drop, after["size_ratio"], latency, kept)


def _trains(path: Path) -> bool:
    content = _content(path)
    return "train" in content and "search" not in content


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content
