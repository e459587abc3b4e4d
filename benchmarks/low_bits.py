"""Weights of 8, 4 and fewer bits with INT8 activations: rounded, rounded by AdaRound, and trained."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process, reports
from benchmarks.samples import unpacked
from benchmarks.settings import CIFAR_TEST, CIFAR_TRAIN, RESNET20, Settings


@dataclass(frozen=True)
class Row:
    """One line of the table: how the file is made."""

    name: str
    flags: tuple[str, ...]
    training: str = "none"


def rows(train: str) -> tuple[Row, ...]:
    """Return the lines; `train` is the notation of the training images."""
    qat = ("--qat", "--train", train, "--augment", "flip", "--augment", "crop", "--train-batch", "128")
    epochs = {n: ("--epochs", str(n)) for n in (1, 3)}
    return (
        Row("W8A8, nearest", ("--scheme", "int8")),
        Row("W8A8, QAT", (*qat, *epochs[1], "--scheme", "int8"), "1 epoch"),
        Row("W4A8, nearest (least squared error)", ("--scheme", "w4a8")),
        Row("W4A8, AdaRound", ("--scheme", "w4a8", "--rounding", "adaround")),
        Row("W4A8, QAT", (*qat, *epochs[1], "--scheme", "w4a8"), "1 epoch"),
        Row("ternary A8, nearest", ("--scheme", "ternary-a8")),
        Row("ternary A8, QAT", (*qat, *epochs[3], "--scheme", "ternary-a8"), "3 epochs"),
    )


def run(settings: Settings) -> list[str]:
    if reason := settings.missing(RESNET20, CIFAR_TRAIN, CIFAR_TEST):
        return [f"ResNet-20 skipped: {reason}\n"]
    data, cache = settings.data, settings.cache
    assert data is not None
    train, test = (f"{unpacked(data / name, cache)},norm=imagenet" for name in (CIFAR_TRAIN, CIFAR_TEST))
    calibration = train.replace(",", "[:256],")
    lines = [
        "| ResNet-20, FP32 top-1 {fp32} | training on 50,000 images | top-1 | drop, points | size | latency | min |",
        "|---|---|---|---|---|---|---|",
    ]
    commands, fp32 = [], ""
    for row in rows(train):
        print(f"  {row.name}", file=sys.stderr)
        output = cache / f"resnet20.{row.name.replace(' ', '_').replace(',', '')}.onnx"
        common = ("--calibrate", calibration, "--data", test, "--metric", "top1", "--force", "--quiet")
        command = process.python("compressctl", "quantize", data / RESNET20, "-o", output, *row.flags, *common)
        commands.append(command)
        cost = process.run(command)
        if cost.failure is not None:
            lines.append(f"| {row.name} | {row.training} | failed: {cost.failure} | | | | |")
            continue
        fp32, columns = _measured(output)
        lines.append(f"| {row.name} | {row.training} | {columns} | {cost.wall_s / 60:.1f} |")
    lines[0] = lines[0].format(fp32=fp32)
    return ["\n".join([*lines, "", *(f"    {settings.show(command)}" for command in commands), ""])]


def _measured(output: Path) -> tuple[str, str]:
    """Return the input's top-1, and the columns top-1, drop, size and latency of the output."""
    report = reports.read(output)
    after = report["output"]
    latency = reports.ratio(after["latency_ratio"])
    columns = f"{reports.score(after)} % | {reports.drop(report)} | {after['size_ratio']:.3f} | {latency}"
    return f"{reports.score(report['input'])} %", columns
