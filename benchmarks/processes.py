"""One process and two, on the same number of steps of the same batches."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import process
from benchmarks.settings import Settings

FOLDER = Path(__file__).parent.parent / "sample_models"
TRAINING = ("--steps", "400", "--learning-rate", "0.01", "--threads", "1")


def run(settings: Settings) -> list[str]:
    student = settings.cache / "student_0.onnx"
    process.run(process.python("sample_models.student", "--seed", "0", student))
    lines = [
        "| distillation of the digits, 400 steps, one thread a process | top-1 | seconds of the command | CPU s |",
        "|---|---|---|---|",
    ]
    commands = []
    for count in (1, 2):
        output = settings.cache / f"student_of_{count}.onnx"
        start = (
            ("compressctl",)
            if count == 1
            else ("torch.distributed.run", "--standalone", f"--nproc_per_node={count}", "-m", "compressctl")
        )
        arguments = ("distill", FOLDER / "cnn.onnx", "--student", student, "-o", output, "--data", "digits")
        command = process.python(*start, *arguments, "--metric", "top1", *TRAINING, "--force", "--quiet")
        commands.append(command)
        print(f"  {count}", file=sys.stderr)
        cost = process.run(command)
        if cost.failure is not None:
            lines.append(f"| {count} | failed: {cost.failure} | | |")
            continue
        report = json.loads(output.with_suffix(".report.json").read_text())
        score = report["output"]["score"]
        seconds = report["passes"][0]["seconds"]
        lines.append(
            f"| {count} | {100 * score['value']:.2f} % [{100 * score['low']:.2f}, {100 * score['high']:.2f}]"
            f" | {cost.wall_s:.1f}, of which training {seconds:.1f} | {cost.cpu_s:.1f} |"
        )
    return ["\n".join([*lines, "", *(f"    {settings.show(command)}" for command in commands), ""])]
