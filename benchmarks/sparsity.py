"""Zeros among the weights: 2:4 and 80 %, in one shot and trained."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process, reports
from benchmarks.samples import unpacked
from benchmarks.settings import CIFAR_TEST, CIFAR_TRAIN, RESNET20, Settings

RATE = ("--learning-rate", "0.002")


@dataclass(frozen=True)
class Row:
    """One line of the table: how the file is made, and on what."""

    name: str
    flags: tuple[str, ...]
    images: int = 0  # that layers are reconstructed on, without labels
    training: str = "none"


def rows(train: str) -> tuple[Row, ...]:
    """Return the lines; `train` is the notation of the training images."""
    tuned = ("--finetune", train, "--augment", "flip", "--augment", "crop", "--train-batch", "128", *RATE)
    pattern, most = ("--nm", "2:4"), ("--ratio", "0.8")
    return (
        Row("2:4, magnitude", pattern),
        Row("2:4, reconstructed", pattern, 256),
        Row("2:4, reconstructed", pattern, 1024),
        Row("80 %, magnitude", most),
        Row("80 %, reconstructed", most, 1024),
        Row("80 %, reconstructed, fine-tuned", (*most, *tuned, "--epochs", "3"), 1024, "3 epochs"),
    )


def run(settings: Settings) -> list[str]:
    if reason := settings.missing(RESNET20, CIFAR_TRAIN, CIFAR_TEST):
        return [f"ResNet-20 skipped: {reason}\n"]
    data, cache = settings.data, settings.cache
    assert data is not None
    train, test = (f"{unpacked(data / name, cache)},norm=imagenet" for name in (CIFAR_TRAIN, CIFAR_TEST))
    lines = [
        "| ResNet-20, FP32 {fp32} | reconstructed on | training, 50,000 images | zeros | top-1 | drop, points | min |",
        "|---|---|---|---|---|---|---|",
    ]
    commands, fp32 = [], ""
    for number, row in enumerate(rows(train)):
        print(f"  {row.name}", file=sys.stderr)
        output = cache / f"resnet20.sparse{number}.onnx"
        samples = ("--calibrate", train.replace(",", f"[:{row.images}],")) if row.images else ()
        common = ("--data", test, "--metric", "top1", "--force", "--quiet")
        structure = ("--structure", "none")
        command = process.python(
            "compressctl", "prune", data / RESNET20, "-o", output, *structure, *row.flags, *samples, *common
        )
        commands.append(command)
        cost = process.run(command)
        made = f"{row.name} | {f'{row.images} images' if row.images else '–'} | {row.training}"
        if cost.failure is not None:
            lines.append(f"| {made} | failed: {cost.failure} | | | |")
            continue
        fp32, columns = _measured(output)
        lines.append(f"| {made} | {columns} | {cost.wall_s / 60:.1f} |")
    lines[0] = lines[0].format(fp32=fp32)
    return ["\n".join([*lines, "", *(f"    {settings.show(command)}" for command in commands), ""])]


def _measured(output: Path) -> tuple[str, str]:
    """Return the input's top-1, and the columns zeros, top-1 and drop of the output."""
    report = reports.read(output)
    layers = [item for item in report["passes"] if item["type"] == "sparsify"][-1]["facts"]["layers"]
    zeros = sum(layer["zeros"] for layer in layers) / sum(layer["weights"] for layer in layers)
    columns = f"{zeros:.1%} | {reports.score(report['output'])} % | {reports.drop(report)}"
    return f"{reports.score(report['input'])} %", columns
