"""Every scheme on every model: bytes, accuracy, and latency beside FP32."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process, reports
from benchmarks.samples import unpacked
from benchmarks.settings import CIFAR_TEST, CIFAR_TRAIN, MINILM, RESNET20, STSB_DEV, STSB_TRAIN, Settings

SAMPLES = Path(__file__).parents[1] / "sample_models"
NEEDED = {"ResNet-20": (RESNET20, CIFAR_TRAIN, CIFAR_TEST), "MiniLM": (MINILM, STSB_TRAIN, STSB_DEV)}
GPTQ = ("--rounding", "gptq")


@dataclass(frozen=True)
class Row:
    """One line of a table: how the file is made; `samples` without labels are looked at."""

    name: str
    flags: tuple[str, ...]
    samples: bool = False
    command: str = "quantize"


ROWS = (
    Row("fp16", ("--scheme", "fp16")),
    Row("bf16", ("--scheme", "bf16")),
    Row("int8-dynamic", ("--scheme", "int8-dynamic")),
    Row("int8", ("--scheme", "int8"), True),
    Row("int4", ("--scheme", "int4")),
    *(Row(f"{scheme}, gptq", ("--scheme", scheme, *GPTQ), True) for scheme in ("int4", "int3", "int2", "ternary")),
    Row("int1", ("--scheme", "int1")),
    *(Row(f"{scheme}, gptq", ("--scheme", scheme, *GPTQ), True) for scheme in ("w4a8", "w3a8", "ternary-a8")),
    Row("16 clusters", ("--clusters", "16"), True, "cluster"),
)


@dataclass(frozen=True)
class Task:
    """A model and what it is judged by.

    Attributes:
        title: of the table.
        model: the file.
        data: with labels.
        metric: by which it is judged.
        calibration: samples, used without labels.
    """

    title: str
    model: Path
    data: str
    metric: str
    calibration: str


def run(settings: Settings) -> list[str]:
    return [_table(task, settings) for task in _tasks(settings)] + [
        f"{name} skipped: {reason}\n"
        for name, files in (
            ("ResNet-20", (RESNET20, CIFAR_TRAIN, CIFAR_TEST)),
            ("MiniLM", (MINILM, STSB_TRAIN, STSB_DEV)),
        )
        if (reason := settings.missing(*files))
    ]


def _tasks(settings: Settings) -> list[Task]:
    data = settings.data
    tasks = [
        Task(f"digits, {name}", SAMPLES / f"{name}.onnx", "digits:test", "top1", "digits:train[:256]")
        for name in ("mlp", "cnn", "transformer", "lstm")
    ]
    if data is not None and not settings.missing(*NEEDED["ResNet-20"]):
        train, test = (unpacked(data / name, settings.cache) for name in (CIFAR_TRAIN, CIFAR_TEST))
        images = f"{train}[:1024],norm=imagenet"
        tasks.append(Task("ResNet-20", data / RESNET20, f"{test},norm=imagenet", "top1", images))
    if data is not None and not settings.missing(*NEEDED["MiniLM"]):
        pairs = "pairs=true,labels=score"
        tasks.append(
            Task(
                "MiniLM", data / MINILM, f"{data / STSB_DEV},{pairs}", "spearman", f"{data / STSB_TRAIN}[:128],{pairs}"
            )
        )
    return tasks


def _table(task: Task, settings: Settings) -> str:
    lines = [
        f"| {task.title} | bytes | of FP32 | {task.metric} | drop, points | latency | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(ROWS):
        print(f"  {task.title}: {row.name}", file=sys.stderr)
        output = settings.cache / f"{task.model.stem}.scheme{number}.onnx"
        samples = ("--calibrate", task.calibration) if row.samples else ()
        judged = ("--data", task.data, "--metric", task.metric, "--force", "--quiet", "--on-regression", "keep")
        command = process.python("compressctl", row.command, task.model, "-o", output, *row.flags, *samples, *judged)
        cost = process.run(command)
        if cost.failure is not None:
            lines.append(f"| {row.name} | failed: {cost.failure} | | | | | |")
            continue
        if number == 0:
            before = reports.read(output)["input"]
            lines.append(f"| FP32 | {before['bytes']:,} | 1 | {reports.score(before)} | | 1 | |")
        lines.append(f"| {row.name} | {_measured(output)} | {cost.wall_s:.0f} |")
    return "\n".join([*lines, ""])


def _measured(output: Path) -> str:
    """Return the columns from bytes to latency."""
    report = reports.read(output)
    after = report["output"]
    sizes = f"{after['bytes']:,} | {after['size_ratio']:.3f}"
    return f"{sizes} | {reports.score(after)} | {reports.drop(report)} | {reports.ratio(after['latency_ratio'])}"
