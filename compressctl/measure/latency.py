"""Latency of model files, and the ratio of latencies with an interval that holds on a noisy machine.

All models run in one process in short alternating bursts, so what slows the machine slows them alike and leaves their
ratio. What is left is not noise of single runs but of sessions: where the weights happen to lie in memory moves the
latency of a session by per cents, for as long as it lives. So the sessions are opened anew several times, each set of
sessions gives one ratio, and the interval is over the sets.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressctl.measure.session import Session
from compressctl.numerics.bootstrap import group_interval

SETS = (5, 12)  # fewest and most sets of sessions; more of them where loading is cheap
MIN_ROUNDS = 5  # in each set
BURST = 0.005  # seconds that a model keeps the processor's caches before the next one has its turn

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Latency:
    """Latency of one inference.

    Attributes:
        median_ms: median over all timed runs, milliseconds.
        p95_ms: their 95th percentile.
        runs: how many were timed.
        load_ms: median time to open a session, the file being in the page cache.
    """

    median_ms: float
    p95_ms: float
    runs: int
    load_ms: float


@dataclass(frozen=True)
class LatencyRatio:
    """Latency of a result over that of the baseline.

    Attributes:
        ratio: geometric mean over sets of sessions of the median ratio within a set; below 1 is faster.
        low: lower end of the 95 % bootstrap interval of the ratio.
        high: its upper end.
        baseline: the baseline alone.
        result: the result alone.
    """

    ratio: float
    low: float
    high: float
    baseline: Latency
    result: Latency


def compare_latency(
    baseline: Path, results: Sequence[Path], feeds: Feeds, *, threads: int = 0, seconds: float = 3.0, seed: int = 0
) -> list[LatencyRatio]:
    """Return the latency ratio of each of `results` over `baseline`, all timed in alternation on the same feeds.

    Args:
        feeds: an array for every input; its first dimension is the batch size.
        threads: threads of each session; 0 for onnxruntime's default.
        seconds: time to spend, half of it at least on timed runs; models that load or run slowly take longer, as the
            fewest sets and rounds need it.
        seed: seed of the order of the models and of the bootstrap.

    Raises:
        ModelError, DataError: a model cannot be opened, or cannot run on the feeds.
    """
    first, *others = _interleave([baseline, *results], feeds, threads, seconds, seed)
    return [_ratio(first, other, seed) for other in others]


def latency(path: Path, feeds: Feeds, *, threads: int = 0, seconds: float = 1.5, seed: int = 0) -> Latency:
    """Return the latency of one model; see `compare_latency`."""
    return _interleave([path], feeds, threads, seconds, seed)[0].summary()


@dataclass
class _Timings:
    """What was timed of one model: seconds to load, by set; seconds of each burst's runs, by set and round."""

    loads: list[float] = field(default_factory=list)
    bursts: list[list[NDArray[np.float64]]] = field(default_factory=list)

    def summary(self) -> Latency:
        runs = 1e3 * np.concatenate([burst for bursts in self.bursts for burst in bursts])
        p95 = float(np.percentile(runs, 95))
        return Latency(float(np.median(runs)), p95, len(runs), 1e3 * float(np.median(self.loads)))


def _ratio(baseline: _Timings, result: _Timings, seed: int) -> LatencyRatio:
    rounds = [
        np.log([b.min() / a.min() for a, b in zip(*bursts, strict=True)])
        for bursts in zip(baseline.bursts, result.bursts, strict=True)
    ]
    ratio, low, high = ratio_interval(rounds, seed)
    return LatencyRatio(ratio, low, high, baseline.summary(), result.summary())


def ratio_interval(rounds: Sequence[NDArray[np.float64]], seed: int) -> tuple[float, float, float]:
    """Return a ratio and its 95 % interval from logarithms of ratios, an array of rounds for each set of sessions."""
    sets = np.array([np.median(logs) for logs in rounds])
    low, high = group_interval(sets, seed=seed)
    return math.exp(sets.mean()), math.exp(low), math.exp(high)


def _interleave(paths: Sequence[Path], feeds: Feeds, threads: int, seconds: float, seed: int) -> list[_Timings]:
    rng = np.random.default_rng(seed)
    timings = [_Timings() for _ in paths]
    sets, budget = SETS[0], 0.0
    number = 0
    with _no_gc():
        while number < sets:
            started = perf_counter()
            sessions = _open(paths, timings, threads, reverse=number % 2 == 1)
            runs = math.ceil(BURST / geometric_mean([_warm_up(session, feeds) for session in sessions]))
            if number == 0:  # the first set shows what a set costs before its rounds, and so how many there can be
                ready = perf_counter() - started
                sets = min(max(int(seconds / 2 / ready), SETS[0]), SETS[1])
                budget = max(seconds / sets - ready, seconds / 2 / sets)
            _rounds(sessions, runs, feeds, timings, budget, rng)
            del sessions  # before the next set is opened: never more than one in memory
            number += 1
    return timings


def _open(paths: Sequence[Path], timings: Sequence[_Timings], threads: int, reverse: bool) -> list[Session]:
    """Open a session for each path; who comes first gets other memory, so the order turns from set to set."""
    sessions = {}
    for i in reversed(range(len(paths))) if reverse else range(len(paths)):
        started = perf_counter()
        sessions[i] = Session(paths[i], threads=threads)
        timings[i].loads.append(perf_counter() - started)
    return [sessions[i] for i in range(len(paths))]


def _warm_up(session: Session, feeds: Feeds) -> float:
    """Run until the latency falls no more; return it in seconds."""
    best, now = math.inf, float(session.time(feeds, 1)[0])
    for _ in range(10):
        if now > 0.95 * best:
            break
        best, now = min(best, now), float(np.median(session.time(feeds, 2)))
    return min(best, now)


def _rounds(
    sessions: Sequence[Session],
    runs: int,
    feeds: Feeds,
    timings: Sequence[_Timings],
    budget: float,
    rng: np.random.Generator,
) -> None:
    """Time a set of sessions in rounds, each session one burst a round in random order, for `budget` seconds."""
    bursts: list[list[NDArray[np.float64]]] = [[] for _ in sessions]
    started = perf_counter()
    while len(bursts[0]) < MIN_ROUNDS or perf_counter() - started < budget:
        for i in rng.permutation(len(sessions)):
            seconds = sessions[i].time(feeds, runs + (runs > 1))
            bursts[i].append(seconds[-runs:])  # the first run of several only warms the caches again
    for timing, burst in zip(timings, bursts, strict=True):
        timing.bursts.append(burst)


@contextmanager
def _no_gc() -> Iterator[None]:
    """Keep Python's garbage collector out of the timings."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
