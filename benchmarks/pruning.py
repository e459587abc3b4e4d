"""Cutting channels, heads and neurons out: what was promised in MACs, what was got in latency, and accuracy."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks import process, reports
from benchmarks.samples import unpacked
from benchmarks.settings import CIFAR_TEST, CIFAR_TRAIN, MINILM, RESNET20, STSB_DEV, STSB_TRAIN, Settings

EPOCHS = 1
_TRAINING = ("--augment", "flip", "--augment", "crop", "--train-batch", "128", "--learning-rate", "0.002")


@dataclass(frozen=True)
class Row:
    """One line of a table: a command and the file it writes."""

    name: str
    command: list[str]
    output: Path


def run(settings: Settings) -> list[str]:
    return [*_resnet20(settings), *_minilm(settings)]


def _resnet20(settings: Settings) -> list[str]:
    if reason := settings.missing(RESNET20, CIFAR_TRAIN, CIFAR_TEST):
        return [f"ResNet-20 skipped: {reason}\n"]
    data, cache = settings.data, settings.cache
    assert data is not None
    train, test = (f"{unpacked(data / name, cache)},norm=imagenet" for name in (CIFAR_TRAIN, CIFAR_TEST))
    calibrate = ("--calibrate", train.replace(",", "[:256],"))
    judged = ("--data", test, "--metric", "top1", "--force", "--quiet")
    trained = ("--epochs", str(EPOCHS), *_TRAINING)

    def ours(name: str, *flags: str) -> Row:
        output = cache / f"resnet20.pruned.{len(rows)}.onnx"
        return Row(name, process.python("compressctl", "prune", data / RESNET20, "-o", output, *flags, *judged), output)

    rows: list[Row] = []
    rows.append(ours("half the MACs, no labels, no training", "--target-macs", "0.5", *calibrate))
    rows.append(ours("half the MACs, l2, nothing mended", "--target-macs", "0.5"))
    rows.append(
        ours(f"half the MACs, {EPOCHS} epoch", "--target-macs", "0.5", *calibrate, "--finetune", train, *trained)
    )
    lines = _table("ResNet-20, FP32 top-1", data / RESNET20, rows, settings)
    if find_spec("torch_pruning") is None:
        return [*lines, "Torch-Pruning skipped: it is not installed.\n"]
    return [*lines, *_torch_pruning(settings, rows[-1].output, ("--train", train, *trained, *judged))]


def _torch_pruning(settings: Settings, ours: Path, flags: tuple[str, ...]) -> list[str]:
    """Cut to the MACs that ours has left, export, and train on the same loss for as long."""
    data, cache = settings.data, settings.cache
    assert data is not None
    report = reports.read(ours)
    share = report["output"]["macs"] / report["input"]["macs"]
    pruned, output = cache / "resnet20.torch_pruning.onnx", cache / "resnet20.torch_pruning.trained.onnx"
    cut = process.python("benchmarks.workers.rival_prune", data / RESNET20, f"{share:.4f}", pruned)
    if failure := process.run(cut).failure:
        return [f"Torch-Pruning failed: {failure}\n"]
    soft = ("--alpha", "0.5", "--temperature", "4")  # the loss that `prune --finetune` has
    trained = process.python(
        "compressctl", "distill", data / RESNET20, "--student", pruned, "-o", output, *soft, *flags
    )
    rows = [Row(f"the same MACs, {EPOCHS} epoch", trained, output)]
    return _table("Torch-Pruning, FP32 top-1", data / RESNET20, rows, settings)


def _minilm(settings: Settings) -> list[str]:
    if reason := settings.missing(MINILM, STSB_TRAIN, STSB_DEV):
        return [f"MiniLM skipped: {reason}\n"]
    data, cache = settings.data, settings.cache
    assert data is not None
    judged = ("--data", f"{data / STSB_DEV},pairs=true,labels=score", "--metric", "spearman", "--force", "--quiet")
    samples = ("--calibrate", f"{data / STSB_TRAIN}[:128],pairs=true,labels=score")
    rows: list[Row] = []
    for structures in (("head",), ("neuron",)):
        for ratio in ("0.25", "0.5"):
            for mended, flags in (("reconstructed", ()), ("not reconstructed", ("--no-reconstruct",))):
                output = cache / f"minilm.pruned.{len(rows)}.onnx"
                chosen = [word for name in structures for word in ("--structure", name)]
                command = process.python(
                    "compressctl", "prune", data / MINILM, "-o", output, *chosen, "--ratio", ratio, *flags, *samples,
                    *judged,
                )  # fmt: skip
                rows.append(Row(f"{' and '.join(f'{s}s' for s in structures)}, {ratio}, {mended}", command, output))
    return _table("MiniLM, FP32 Spearman", data / MINILM, rows, settings)


def _table(title: str, original: Path, rows: list[Row], settings: Settings) -> list[str]:
    lines, score = [], ""
    costs = []
    for row in rows:
        print(f"  {row.name}", file=sys.stderr)
        costs.append(process.run(row.command))
    made = [row for row, cost in zip(rows, costs, strict=True) if cost.failure is None]
    latencies = _latencies(original, [row.output for row in made])
    for row, cost in zip(rows, costs, strict=True):
        if cost.failure is not None:
            lines.append(f"| {row.name} | failed: {cost.failure} | | | | | |")
            continue
        report = reports.read(row.output)
        score = reports.score(report["input"])
        lines.append(f"| {row.name} | {_columns(report, latencies[row.output])} | {cost.wall_s / 60:.1f} |")
    head = f"| {title} {score} | metric | drop, points | MACs | latency | size | min |"
    commands = [f"    {settings.show(row.command)}" for row in rows]
    return ["\n".join([head, "|---|---|---|---|---|---|---|", *lines, "", *commands, ""])]


def _latencies(original: Path, files: list[Path]) -> dict[Path, str]:
    """Return the latency of each file over that of the original, one thread, all measured in alternation."""
    if not files:
        return {}
    command = process.python("compressctl", "bench", original, *files, "--threads", "1", "--json", "--quiet")
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["models"]
    ratios = {model["path"]: model["latency_ratio"] for model in found[1:]}
    return {file: reports.ratio(ratios[str(file)]) for file in files}


def _columns(report: reports.Report, latency: str) -> str:
    after = report["output"]
    work = after["macs"] / report["input"]["macs"]
    return f"{reports.score(after)} | {reports.drop(report)} | {work:.3f} | {latency} | {after['size_ratio']:.3f}"
