"""How good a quantized file still is, computed apart from compressctl: the same code judges both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.samples import batches
from benchmarks.workers.plain import BATCH


@dataclass(frozen=True)
class Judge:
    """A column of a table: its heading, and the score of a model file."""

    heading: str
    score: Callable[[Path], float]


def top1(samples: Path) -> Judge:
    """Percent of the samples whose largest output is that of their label."""
    labels = np.load(samples)["labels"]
    return Judge("top-1, %", lambda model: 100 * float((_output(model, samples).argmax(1) == labels).mean()))


def spearman(samples: Path, output: str) -> Judge:
    """Rank correlation, in percent, of the dot products of pairs of rows with `score`; row i pairs with row N + i."""
    truth = np.load(samples)["score"]

    def score(model: Path) -> float:
        first, second = np.split(_output(model, samples, output), 2)
        return 100 * float(spearmanr((first * second).sum(1), truth).statistic)

    return Judge("Spearman, %", score)


def sqnr(samples: Path, baseline: Path) -> Judge:
    """Signal-to-quantization-noise ratio of the first output against the baseline's, in dB."""
    signal = _output(baseline, samples)

    def score(model: Path) -> float:
        noise = _output(model, samples) - signal
        with np.errstate(divide="ignore"):
            return float(10 * np.log10(np.square(signal).sum() / np.square(noise).sum()))

    return Judge("SQNR, dB", score)


def _output(model: Path, samples: Path, output: str | None = None) -> NDArray[np.float64]:
    session = onnxruntime.InferenceSession(model)
    name = output or session.get_outputs()[0].name
    inputs = [entry.name for entry in session.get_inputs()]
    return np.concatenate([session.run([name], feeds)[0] for feeds in batches(samples, inputs, BATCH)]).astype(
        np.float64
    )
