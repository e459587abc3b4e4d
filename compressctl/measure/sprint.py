"""Models timed in short alternating bursts: milliseconds each, to decide by; `latency.py` gives figures to report."""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compressctl.measure.session import Session

if TYPE_CHECKING:
    import onnx_ir as ir

_ROUNDS = 6
_BURST = 0.002  # seconds that a model runs before the next has its turn: it pays for its own cold caches
_MOST = 0.25  # seconds for all: large models get fewer rounds
_FEWEST = 3


def sprint(
    models: Sequence[ir.Model | bytes | Path], feeds: Mapping[str, NDArray[Any]], *, threads: int = 0
) -> list[float]:
    """Return the seconds that one inference of each model takes: the fastest run of all bursts.

    Noise of the machine only ever adds to a run, so the minimum is what the models themselves take.

    Args:
        models: timed in alternation, all on the same feeds.
        feeds: an array for every input.
        threads: threads of each session; 0 for onnxruntime's default.

    Raises:
        ModelError, DataError: a model cannot be opened, or cannot run on the feeds.
    """
    sessions = [Session(model, threads=threads) for model in models]
    best = [math.inf] * len(sessions)
    once = [float(session.time(feeds, 2).min()) for session in sessions]
    runs = [max(1, math.ceil(_BURST / seconds)) for seconds in once]
    a_round = sum(seconds * (count + 1) for seconds, count in zip(once, runs, strict=True))
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(min(max(int(_MOST / a_round), _FEWEST), _ROUNDS)):
            for i, session in enumerate(sessions):
                best[i] = min(best[i], float(np.min(session.time(feeds, runs[i] + 1))))
    finally:
        if enabled:
            gc.enable()
    return best
