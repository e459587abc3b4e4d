"""Pipelines under a budget: several techniques in one recipe, and a search."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process, reports
from benchmarks.samples import unpacked
from benchmarks.settings import CIFAR_TEST, CIFAR_TRAIN, RESNET20, Settings

RECIPES = Path(__file__).parents[1] / "recipes"
SEARCH_LIMIT = "20m"


@dataclass(frozen=True)
class Row:
    """One run of a recipe file, or a search, with flags in place of its keys, to a file of this kind."""

    name: str
    recipe: str | None
    flags: tuple[str | Path, ...] = ()
    suffix: str = ".onnx"


def run(settings: Settings) -> list[str]:
    rows = [Row("digits: distil, prune, 4-bit weights", "distill_prune_quantize.yaml")]
    reason, data = settings.missing(RESNET20, CIFAR_TRAIN, CIFAR_TEST), settings.data
    if reason is None and data is not None:
        train, test = (f"{unpacked(data / name, settings.cache)},norm=imagenet" for name in (CIFAR_TRAIN, CIFAR_TEST))
        common = ("--model", data / RESNET20, "--data", test, "--metric", "top1", "--threads", "1")
        trained = (*common, "--calibrate", train.replace(",", "[:256],", 1), "--train", train, "--batch-size", "1")
        longer = ("--set", "macs=0.45", "--set", "passes.2.epochs=2", "--set", "passes.4.epochs=2")
        longer += ("--set", "passes.4.learning_rate=0.0005")
        searched = (
            *common,
            "--calibrate",
            train.replace(",", "[:512],", 1),
            "--max-accuracy-drop",
            "0.005",
            "--objective",
            "size",
        )
        rows += [
            Row("ResNet-20: prune, train, 4-bit QAT", "prune_qat.yaml", (*trained, *longer), ".ccz"),
            Row(f"ResNet-20: search, {SEARCH_LIMIT}", None, (*searched, "--time-limit", SEARCH_LIMIT)),
        ]
    lines = [
        "| | size, x | latency, x | drop, points | verdict | min |",
        "|---|---|---|---|---|---|",
        *(f"| {row.name} | {_columns(row, number, settings)} |" for number, row in enumerate(rows)),
        "",
    ]
    return ["\n".join(lines)] + ([f"ResNet-20 skipped: {reason}\n"] if reason else [])


def _columns(row: Row, number: int, settings: Settings) -> str:
    print(f"  {row.name}", file=sys.stderr)
    output = settings.cache / f"pipeline{number}{row.suffix}"
    what = "--auto" if row.recipe is None else RECIPES / row.recipe
    arguments = (what, "-o", output, *row.flags, "--force", "--quiet", "--no-cache")
    cost = process.run(process.python("compressctl", "pipeline", *arguments))
    if cost.failure is not None:
        return f"failed: {cost.failure} | | | |"
    report = reports.read(output)
    after = report["output"]
    sizes = f"{after['size_ratio']:.3f} | {reports.ratio(after['latency_ratio'])}"
    return f"{sizes} | {reports.drop(report)} | {report['verdict']} | {cost.wall_s / 60:.1f}"
