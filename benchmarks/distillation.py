"""A student of less than a tenth of its teacher's parameters: alone on the labels, and distilled."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks import process
from benchmarks.settings import Settings

TEACHER = Path("sample_models/cnn.onnx")
SEEDS = range(5)
TRAINING = ("--epochs", "40", "--learning-rate", "0.02")


def run(settings: Settings) -> list[str]:
    accuracy: dict[str, list[float]] = {"alone": [], "distilled": []}
    teacher, commands = 0.0, []
    parameters: dict[str, int] = {}
    for seed in SEEDS:
        print(f"  seed {seed}", file=sys.stderr)
        student = settings.cache / f"student_{seed}.onnx"
        process.run(process.python("sample_models.student", "--seed", str(seed), student))
        for side, start in {
            "alone": ("finetune", student, "--distil", "0"),
            "distilled": ("distill", TEACHER, "--student", student, "--temperature", "8"),
        }.items():
            output = settings.cache / f"student_{seed}.{side}.onnx"
            common = ("--data", "digits", "--metric", "top1", *TRAINING, "--seed", str(seed), "--force", "--quiet")
            command = process.python("compressctl", *start, "-o", output, *common)
            cost = process.run(command)
            if cost.failure is not None:
                return [f"{side} failed: {cost.failure}\n\n    {settings.show(command)}\n"]
            report = json.loads(output.with_suffix(".report.json").read_text())
            accuracy[side].append(100 * report["output"]["score"]["value"])
            if side == "distilled":
                teacher = 100 * report["input"]["score"]["value"]
                parameters = report["passes"][0]["facts"]["parameters"]
            if seed == SEEDS[0]:
                commands.append(command)
    share = parameters["student"] / parameters["teacher"]
    lines = [
        f"| digits, teacher {teacher:.2f} %; student of {parameters['student']:,} parameters, {share:.3f} of them"
        " | mean of 5 seeds | 95 % interval of the mean | each |",
        "|---|---|---|---|",
    ]
    for side, values in accuracy.items():
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values) or 1e-9)
        each = ", ".join(f"{value:.2f}" for value in values)
        lines.append(f"| {side} | {np.mean(values):.2f} % | [{low:.2f}, {high:.2f}] | {each} |")
    return ["\n".join([*lines, "", *(f"    {settings.show(command)}" for command in commands), ""])]
