"""Running `quantize_weights` on small models."""

from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.model.verify import verify_graph
from compressctl.numerics.rounding import weight_qparams
from compressctl.passes import quantize_weights
from compressctl.passes.base import Context, Outcome
from compressctl.quantization.schemes import STORED

GRIDS = {scheme.name: scheme.grid for scheme in STORED if scheme.grid is not None}
SCHEMES = tuple(GRIDS)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def compress(model: ir.Model, scheme: str, folder: Path, calibration=None, **options) -> Outcome:
    """Run the pass on `model` itself, and check its graph."""
    config = quantize_weights.Config(scheme=scheme, **options)
    outcome = config.run(model, Context(baseline=model, workdir=folder, calibration=calibration, threads=1))
    verify_graph(outcome.model, where="test")
    return outcome


def symmetric(rows: np.ndarray, scheme: str) -> np.ndarray:
    """Rows rounded to integers times a scale of 16 bits each, written out."""
    scale = weight_qparams(rows, 0, GRIDS[scheme]).scale.astype(np.float16).astype(np.float32)[:, None]
    if scheme == "int1":
        return np.where(rows >= 0, scale, -scale)
    low, high = {"int8-weights": (-128, 127), "int4": (-8, 7), "int3": (-4, 3), "int2": (-2, 1), "ternary": (-1, 1)}[
        scheme
    ]
    return np.clip(np.rint(rows / scale), low, high).astype(np.float32) * scale


def texts(outcome: Outcome) -> str:
    return " | ".join(f"{note.kind} {note.node}: {note.text}" for note in outcome.notes)
