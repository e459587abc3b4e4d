"""Deep Compression of LeNets: pruned, clustered, entropy-coded, each with training, beside the paper's figures."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import process, reports
from benchmarks.models import lenet
from benchmarks.samples import Arrays, sample_file
from benchmarks.settings import Settings

IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
TRAINED = 8_000  # the first images of MNIST's 10,000 for testing; the last 2,000 judge


@dataclass(frozen=True)
class Row:
    """A network, how sparse it becomes, and what the paper reports: error before and after in percent, and ratio."""

    name: str
    build: Callable[[Path], None]
    ratios: tuple[float, ...]
    paper: str


ROWS = (
    Row("LeNet-300-100", lenet.build_300_100, (0.8, 0.9, 0.94), "1.64 -> 1.58, 40x"),
    Row("LeNet-5", lenet.build_5, (0.8, 0.94, 0.97), "0.80 -> 0.74, 39x"),
)
CLUSTERS = 16


def run(settings: Settings) -> list[str]:
    if reason := settings.missing(IMAGES, LABELS):
        return [f"LeNets skipped: {reason}\n"]
    data, cache = settings.data, settings.cache
    assert data is not None
    train = sample_file(cache, "mnist_train", lambda: _digits(data, slice(TRAINED)))
    test = sample_file(cache, "mnist_test", lambda: _digits(data, slice(TRAINED, None)))
    lines = [
        "8,000 of MNIST's test images train, the other 2,000 judge; the paper trained on 60,000.",
        "",
        "| | bytes | `.ccz` | ratio | non-zero | error before, % | after, % | paper: error, ratio | min |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        print(f"  {row.name}", file=sys.stderr)
        lines.append(f"| {row.name} | {_compressed(row, train, test, cache)} |")
    return ["\n".join([*lines, ""])]


def _digits(data: Path, part: slice) -> Arrays:
    """Return images [count, 1, 28, 28] in [0, 1] and labels, from the files of MNIST (IDX format)."""
    pixels = np.frombuffer(gzip.decompress((data / IMAGES).read_bytes()), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    labels = np.frombuffer(gzip.decompress((data / LABELS).read_bytes()), np.uint8, offset=8).astype(np.int64)
    return {"input": pixels[part] / np.float32(255), "labels": labels[part]}


def _compressed(row: Row, train: Path, test: Path, cache: Path) -> str:
    """Return the columns of a row, or what failed."""
    stem = row.name.lower().replace("-", "_")
    untrained, model, output = cache / f"{stem}.untrained.onnx", cache / f"{stem}.onnx", cache / f"{stem}.ccz"
    row.build(untrained)
    judged = ("--train", train, "--data", test, "--metric", "top1", "--augment", "crop", "--force", "--quiet")
    fitted = ("--distil", "0", "--epochs", "40", "--weight-decay", "0.05")
    cost = process.run(process.python("compressctl", "finetune", untrained, "-o", model, *fitted, *judged))
    if cost.failure is not None:
        return f"failed: {cost.failure}"
    recipe = cache / f"{stem}.yaml"
    recipe.write_text(json.dumps(_recipe(row, model, output, train, test)))  # JSON is YAML
    cost = process.run(process.python("compressctl", "pipeline", recipe, "--force", "--quiet"))
    if cost.failure is not None:
        return f"failed: {cost.failure}"
    report = reports.read(output)
    before, after = report["input"], report["output"]
    errors = " | ".join(f"{100 * (1 - side['score']['value']):.2f}" for side in (before, after))
    columns = (
        f"{before['bytes']:,} | {after['bytes']:,} | {before['bytes'] / after['bytes']:.1f} | {after['nonzeros']:,}"
    )
    return f"{columns} | {errors} | {row.paper} | {cost.wall_s / 60:.1f}"


def _recipe(row: Row, model: Path, output: Path, train: Path, test: Path) -> dict[str, Any]:
    finetune = {"type": "finetune", "epochs": 15, "augment": ["crop"]}
    pruned = [step for ratio in row.ratios for step in ({"type": "sparsify", "ratio": ratio}, finetune)]
    pruned[-1] = {**finetune, "epochs": 30}
    clustered = [{"type": "cluster", "clusters": CLUSTERS}, {**finetune, "learning_rate": 1e-4}]
    return {
        "model": str(model),
        "output": str(output),
        "calibrate": f"{train}[:1024]",
        "train": str(train),
        "data": str(test),
        "metric": "top1",
        "passes": [*pruned, *clustered, {"type": "store", "format": "codebook"}],
        "on_regression": "keep",
    }
