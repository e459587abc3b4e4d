"""What it costs to observe activations, next to plain inference of the same samples."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import process
from benchmarks.models import model_file
from benchmarks.samples import random_images, random_sentences, sample_file
from benchmarks.settings import Settings

OUR_METHODS = ("minmax", "percentile", "entropy", "mse")
RIVAL_METHODS = ("minmax", "percentile", "entropy")


def run(settings: Settings) -> list[str]:
    cache = settings.cache
    images = sample_file(cache, "images_64", lambda: {"input": random_images(64, seed=2)})
    sentences = sample_file(cache, "sentences_16", lambda: random_sentences(16, 128, seed=2))
    return [
        _table("ResNet-50 shape, 64 images", model_file("resnet50", cache), images, settings),
        _table("BERT-base shape, 16 sentences, static", model_file("bert_base", cache), sentences, settings),
    ]


def _table(title: str, model: Path, samples: Path, settings: Settings) -> str:
    prepared = {side: settings.cache / f"{model.stem}.prepared_by_{side}.onnx" for side in ("us", "ort")}
    preparations = [
        process.python("compressctl", "simplify", model, "-o", prepared["us"], "--force", "--quiet"),
        process.python("benchmarks.workers.rival_prepare", model, prepared["ort"]),
    ]
    for command in preparations:
        process.run(command)
    plain = process.run(process.python("benchmarks.workers.plain", model, samples))
    rows = [f"| {title} | CPU s | of inference | peak MB | of min-max |", "|---|---|---|---|---|"]
    rows.append(f"| plain inference | {plain.cpu_s:.1f} | 1.00 | {plain.peak_bytes / 1e6:,.0f} | |")
    commands = [*preparations]
    minmax = plain
    for name, command in _commands(prepared, samples):
        print(f"  {name}", file=sys.stderr)
        commands.append(command)
        cost = process.run(command)
        if name.endswith("minmax"):
            minmax = cost
        if cost.failure is not None:
            rows.append(f"| {name} | failed: {cost.failure} | | | |")
            continue
        times, memory = cost.cpu_s / plain.cpu_s, cost.peak_bytes / minmax.peak_bytes
        rows.append(f"| {name} | {cost.cpu_s:.1f} | {times:.2f} | {cost.peak_bytes / 1e6:,.0f} | {memory:.2f} |")
    return "\n".join([*rows, "", *(f"    {settings.show(command)}" for command in commands), ""])


def _commands(prepared: dict[str, Path], samples: Path) -> Iterator[tuple[str, list[str]]]:
    for method in OUR_METHODS:
        command = process.python("benchmarks.workers.our_calibrate", prepared["us"], samples, method)
        yield f"compressctl {method}", command
    for method in RIVAL_METHODS:
        yield f"ort {method}", process.python("benchmarks.workers.rival_calibrate", prepared["ort"], samples, method)
    for method in RIVAL_METHODS[1:]:
        command = process.python("benchmarks.workers.rival_calibrate", prepared["ort"], samples, method, "1")
        yield f"ort {method}, one batch at a time", command
