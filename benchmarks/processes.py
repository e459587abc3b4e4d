"""One process and two, on the same number of steps of the same batches, one thread a process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import process
from benchmarks.samples import unpacked
from benchmarks.settings import CIFAR_TEST, CIFAR_TRAIN, RESNET20, Settings

FOLDER = Path("sample_models")
COMMON = ("--metric", "top1", "--threads", "1", "--force", "--quiet")


def run(settings: Settings) -> list[str]:
    student = settings.cache / "student_0.onnx"
    process.run(process.python("sample_models.student", "--seed", "0", student))
    digits = ("distill", FOLDER / "cnn.onnx", "--student", student, "--data", "digits", "--learning-rate", "0.01")
    tables = [_table("distillation of the digits, 400 steps of 64", (*digits, "--steps", "400"), "digits", settings)]
    data = settings.data
    if settings.missing(RESNET20, CIFAR_TRAIN, CIFAR_TEST) or data is None:
        return tables
    train, test = (
        f"{unpacked(data / name, settings.cache)}[:2560],norm=imagenet" for name in (CIFAR_TRAIN, CIFAR_TEST)
    )
    resnet = ("finetune", data / RESNET20, "--train", train, "--data", test, "--train-batch", "128")
    title = "fine-tuning of ResNet-20, 40 steps of 128"
    return [*tables, _table(title, (*resnet, "--steps", "40"), "resnet20", settings)]


def _table(title: str, arguments: tuple[str | Path, ...], name: str, settings: Settings) -> str:
    lines = [f"| {title} | top-1 | seconds of training | seconds in all | CPU s |", "|---|---|---|---|---|"]
    commands = []
    for count in (1, 2):
        output = settings.cache / f"{name}_of_{count}.onnx"
        torchrun = ("torch.distributed.run", "--standalone", f"--nproc_per_node={count}", "-m", "compressctl")
        command = process.python(*(torchrun if count > 1 else ("compressctl",)), *arguments, "-o", output, *COMMON)
        commands.append(command)
        print(f"  {name}, {count}", file=sys.stderr)
        cost = process.run(command)
        if cost.failure is not None:
            lines.append(f"| {count} | failed: {cost.failure} | | | |")
            continue
        report = json.loads(output.with_suffix(".report.json").read_text())
        score = "{value:.2%} [{low:.2%}, {high:.2%}]".format(**report["output"]["score"])
        seconds = report["passes"][0]["seconds"]
        lines.append(f"| {count} | {score} | {seconds:.1f} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} |")
    return "\n".join([*lines, "", *(f"    {settings.show(command)}" for command in commands), ""])
