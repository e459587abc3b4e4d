"""Low rank: sizes, latencies and accuracy with and without calibration samples, and within an accuracy budget."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import process, reports
from benchmarks.samples import unpacked
from benchmarks.settings import CIFAR_TEST, CIFAR_TRAIN, MINILM, RESNET20, STSB_DEV, STSB_TRAIN, Settings


@dataclass(frozen=True)
class Row:
    """One line of a table: options of the pass, and of the recipe."""

    name: str
    options: dict[str, Any]
    recipe: dict[str, Any] = field(default_factory=dict)
    calibrated: bool = True


ROWS = (
    Row("half of each weight, no samples", {"ratio": 0.5}, calibrated=False),
    Row("half of each weight", {"ratio": 0.5}),
    Row("a drop of 1 point", {}, {"max_accuracy_drop": 0.01}),
)


def run(settings: Settings) -> list[str]:
    return [_sentences(settings), _images(settings)]


def _sentences(settings: Settings) -> str:
    if reason := settings.missing(MINILM, STSB_TRAIN, STSB_DEV):
        return f"MiniLM skipped: {reason}\n"
    data = settings.data
    assert data is not None
    given = {"data": f"{data / STSB_DEV},pairs=true,labels=score", "metric": "spearman"}
    return _table("MiniLM", data / MINILM, given, f"{data / STSB_TRAIN}[:128],pairs=true,labels=score", settings)


def _images(settings: Settings) -> str:
    if reason := settings.missing(RESNET20, CIFAR_TRAIN, CIFAR_TEST):
        return f"ResNet-20 skipped: {reason}\n"
    assert settings.data is not None
    train, test = (unpacked(settings.data / name, settings.cache) for name in (CIFAR_TRAIN, CIFAR_TEST))
    given = {"data": f"{test},norm=imagenet", "metric": "top1"}
    return _table("ResNet-20", settings.data / RESNET20, given, f"{train}[:256],norm=imagenet", settings)


def _table(title: str, model: Path, given: dict[str, str], calibration: str, settings: Settings) -> str:
    lines = [
        f"| {title} | {given['metric']} | drop, points | size | latency | layers factored | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        print(f"  {title}: {row.name}", file=sys.stderr)
        stem = f"{model.stem}.low_rank_{ROWS.index(row)}"
        output, recipe = settings.cache / f"{stem}.onnx", settings.cache / f"{stem}.yaml"
        passes = [{"type": "simplify"}, {"type": "low_rank", **row.options}]
        content = {"model": str(model), "output": str(output), "passes": passes, "on_regression": "keep"}
        content |= {**given, **row.recipe, **({"calibrate": calibration} if row.calibrated else {})}
        recipe.write_text(json.dumps(content))  # JSON is YAML
        cost = process.run(process.python("compressctl", "pipeline", recipe, "--force", "--quiet"))
        if cost.failure is not None:
            lines.append(f"| {row.name} | failed: {cost.failure} | | | | | |")
            continue
        lines.append(f"| {row.name} | {_measured(output)} | {cost.wall_s:.0f} |")
    return "\n".join([*lines, ""])


def _measured(output: Path) -> str:
    """Return the columns metric, drop, size, latency and layers factored."""
    report = reports.read(output)
    after = report["output"]
    score = f"{reports.score(report['input'])} -> {reports.score(after)}"
    facts = next(item["facts"] for item in report["passes"] if item["type"] == "low_rank")
    cost = f"{after['size_ratio']:.3f} | {reports.ratio(after['latency_ratio'])}"
    return f"{score} | {reports.drop(report)} | {cost} | {len(facts.get('layers', ()))}"
