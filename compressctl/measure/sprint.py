"""Models timed in short alternating bursts: milliseconds each, to decide by; `latency.py` gives figures to report.

What is timed is the processor's work on one thread. It does not count what other programs take of the machine, so a
decision does not depend on who else is at work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import thread_time
from typing import TYPE_CHECKING

from compressctl.arrays import Array
from compressctl.measure.latency import no_gc
from compressctl.measure.session import Session

if TYPE_CHECKING:
    import onnx_ir as ir

_FEWEST = 3  # rounds
_BURST = 0.002  # seconds that a model runs before the next has its turn: it pays for its own cold caches
_SECONDS = 0.4  # for all: models that take longer get fewer rounds


def sprint(models: Sequence[ir.Model | bytes | Path], feeds: Mapping[str, Array], *, rounds: int = 8) -> list[float]:
    """Return the seconds that one inference of each model takes on one thread: those of its fastest burst.

    Args:
        models: timed in alternation, all on the same feeds.
        feeds: an array for every input.
        rounds: bursts of each model at most. The fewer, the more a disturbance of caches counts.

    Raises:
        ModelError, DataError: a model cannot be opened, or cannot run on the feeds.
    """
    sessions = [Session(model, threads=1) for model in models]
    once = [_burst(session, feeds, 1) for session in sessions]
    runs = [max(1, math.ceil(_BURST / seconds)) for seconds in once]
    a_round = sum(seconds * (count + 1) for seconds, count in zip(once, runs, strict=True))
    best = [math.inf] * len(sessions)
    with no_gc():
        for _ in range(min(max(int(_SECONDS / a_round), _FEWEST), rounds)):
            for i, session in enumerate(sessions):
                best[i] = min(best[i], _burst(session, feeds, runs[i]))
    return best


def _burst(session: Session, feeds: Mapping[str, Array], runs: int) -> float:
    """Run once to warm the caches, then `runs` times; return the CPU seconds of one."""
    session.time(feeds, 1)
    begun = thread_time()
    session.time(feeds, runs)
    return max(thread_time() - begun, 1e-9) / runs
