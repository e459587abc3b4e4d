"""What the tests of passes that train share: small linear models, contexts, and gradients written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.notation import open_source
from compressctl.data.source import Source
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.model.load import interface
from compressctl.passes.base import Context
from tests import graphs

ONE_STEP = {
    "steps": 1,
    "train_batch": 1000,
    "optimizer": "sgd",
    "momentum": 0,
    "weight_decay": 0,
    "clip_norm": 0,
    "warmup": 0,
    "schedule": "constant",
    "learning_rate": 0.05,
}


def linear(seed: int, inputs: int = 3, outputs: int = 4, x: str = "x", y: str = "y") -> ir.Model:
    """y = x W + b."""
    random = graphs.Random(seed)
    arrays = {"w": random(inputs, outputs), "b": random(outputs)}
    return graphs.model(f"[fc] {y} = Gemm ({x}, w, b)", arrays, f"float[n, {inputs}] {x}", f"float[n, {outputs}] {y}")


def alike(folder: Path, x: Array, labels: Any = None, rows: int = 20) -> str:
    """Samples that are all the same one, so that it does not matter which of them train."""
    arrays = {"x": np.repeat(x[None], rows, axis=0)}
    if labels is not None:
        arrays["labels"] = np.repeat(np.asarray(labels)[None], rows, axis=0)
    np.savez(folder / "alike.npz", **arrays)
    return str(folder / "alike.npz")


def context(
    model: ir.Model, folder: Path, train: str | Source | None, metric: str | None = None, **more: Any
) -> Context:
    source = open_source(train, interface(model)[0]) if isinstance(train, str) else train
    return Context(
        baseline=more.pop("baseline", None) or model.clone(),
        workdir=folder,
        training=source,
        metric=parse_metric(metric) if metric else None,
        threads=1,
        **more,
    )


def answer(model: ir.Model, x: Array) -> Array:
    """What onnxruntime makes of one sample."""
    return Session(model, threads=1).run({"x": x[None]})["y"][0].astype(np.float64)


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max())
    return e / e.sum()


def right(model: ir.Model) -> float:
    """Top-1 on the held-out digits, in onnxruntime."""
    specs = interface(model)[0]
    session = Session(model, threads=1)
    batches = [
        (session.run(batch.feeds)["logits"], batch.labels) for batch in open_source("digits:test", specs).batches(360)
    ]
    return float(np.mean([np.mean(logits.argmax(1) == labels) for logits, labels in batches]))
