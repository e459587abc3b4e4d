"""Latency of model files, and the ratio of latencies with an interval that holds on a noisy machine.

All models run in one process in short alternating bursts, so what slows the machine slows them alike and leaves their
ratio. What is left is not noise of single runs but of sessions: where the weights happen to lie in memory moves the
latency of a session by per cents, for as long as it lives. So the sessions are opened anew several times, each set of
sessions gives one ratio, and the interval is over the sets (`clocks.py`). Sets are added until they tell what is asked.

A model with states is timed as it is used, step after step with the states that it comes to: what counts as one of its
runs is the mean of the steps of a walk, and all models walk the same steps.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import geometric_mean
from time import perf_counter, thread_time

import numpy as np

from compressctl.arrays import Floats
from compressctl.data.walk import Walk
from compressctl.measure.clocks import CLOCKS, NO_LIMITS, Clock, Limits, Reading, Witnesses, fine, read, sure
from compressctl.measure.interval import Interval
from compressctl.measure.session import Session, give_back_memory

# The fewest sets of sessions that an interval is over, and the most in the time given: more where loading is cheap.
SETS = 5, 12
MIN_ROUNDS = 5  # in each set
_DISTURBED = 0.05  # of the time that others may take before a measurement is not cut short
# Models too large to be open at once: the fewest sets, and seconds after which they do.
_FEWEST_APART, _PATIENCE_APART = 3, 15.0
BURST = 0.005  # seconds that a model keeps the processor's caches before the next one has its turn
_WALK, _FEWEST_STEPS = 4 * BURST, 2  # seconds that a walk may take, and steps that it has even so


@dataclass(frozen=True)
class Latency:
    """Latency of one inference.

    Attributes:
        median_ms: milliseconds: the median of the fastest runs of short bursts, as `clocks.py` says.
        p95_ms: 95th percentile of all timed inferences, by the same clock.
        runs: how many inferences were timed.
        load_ms: median time to open a session, the file being in the page cache.
        low_ms: lower end of the 95 % interval of `median_ms`.
        high_ms: its upper end.
        steps: how many steps followed each other with the states carried, the times being of one step on average; 1
            where there are no states.
    """

    median_ms: float
    p95_ms: float
    runs: int
    load_ms: float
    low_ms: float = math.nan
    high_ms: float = math.nan
    steps: int = 1


@dataclass(frozen=True)
class LatencyRatio:
    """Latency of a result over that of the baseline.

    Attributes:
        ratio: geometric mean over sets of sessions of the median ratio within a set; below 1 is faster. It is the
            quotient of the two medians.
        low: lower end of the 95 % bootstrap interval of the ratio.
        high: its upper end.
        baseline: the baseline alone.
        result: the result alone.
        witnesses: how the ratio was found.
    """

    ratio: float
    low: float
    high: float
    baseline: Latency
    result: Latency
    witnesses: Witnesses

    @property
    def interval(self) -> Interval:
        """The ratio with its interval."""
        return Interval(self.ratio, self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class LatencyOptions:
    """How latencies are measured.

    Attributes:
        threads: of onnxruntime; 0 for one a physical core.
        seed: of the order of the models and of the bootstrap.
        seconds: time to spend, half of it at least on timed runs; less where the intervals are narrow before and
            nothing else runs; models that load or run slowly take longer, as the fewest sets and rounds need it.
        limits: what the latencies are held against; one that lies within an interval is reason to measure on.
        patience: times `seconds` that measuring may go on where the intervals do not tell what is asked.
    """

    threads: int = 0
    seed: int = 0
    seconds: float = 3.0
    limits: Limits = NO_LIMITS
    patience: float = 1.0


def compare_latency(
    baseline: Path, results: Sequence[Path], walk: Walk, options: LatencyOptions, *, apart: bool = False
) -> list[LatencyRatio]:
    """Return the latency ratio of each of `results` over `baseline`, all timed in alternation on the same steps.

    Args:
        baseline: the file that ratios are over.
        results: files.
        walk: what they are fed; of several steps, no more than the baseline takes in a short time.
        options: how.
        apart: open no two models at a time, which are too large for that: in a set, one is timed after the other.

    Raises:
        ModelError, DataError: a model cannot be opened, or cannot run on the feeds.
    """
    timings, reading = _interleave([baseline, *results], walk, options, apart=apart)
    first, *others = _latencies(timings, reading)
    return [
        LatencyRatio(ratio.value, ratio.low, ratio.high, first, other, witnesses)
        for other, ratio, witnesses in zip(others, reading.ratios, reading.witnesses, strict=True)
    ]


def latency(path: Path, walk: Walk, options: LatencyOptions) -> Latency:
    """Return the latency of one model, held against nothing; see `compare_latency`."""
    return _latencies(*_interleave([path], walk, replace(options, limits=NO_LIMITS, patience=1.0)))[0]


@dataclass(frozen=True)
class _Burst:
    """Seconds of each inference by the wall clock, [walks, steps], and of one by the thread's CPU clock, on average.

    That clock is read once a burst: reading it is a call of the system, which a short run after it would feel.
    """

    inferences: Floats
    cpu: float

    @property
    def fastest(self) -> float:
        """Seconds of a step of the fastest walk, by the wall clock."""
        return float(self.inferences.mean(axis=1).min())

    def by(self, clock: Clock) -> Floats:
        return self.inferences if clock == "wall" else np.full_like(self.inferences, self.cpu)


@dataclass
class _Timings:
    """What was timed of one model: seconds to load, by set; bursts, by set and round."""

    loads: list[float] = field(default_factory=list)
    bursts: list[list[_Burst]] = field(default_factory=list)

    def inferences(self, clock: Clock) -> Floats:
        return np.concatenate([burst.by(clock) for bursts in self.bursts for burst in bursts])

    def summary(self, seconds: Interval, clock: Clock) -> Latency:
        inferences = self.inferences(clock)
        median, low, high = (1e3 * value for value in (seconds.value, seconds.low, seconds.high))
        p95 = max(1e3 * float(np.percentile(inferences, 95)), median)  # few on a noisy machine need not agree
        load = 1e3 * float(np.median(self.loads))
        return Latency(median, p95, inferences.size, load, low, high, inferences.shape[1])


def _latencies(timings: Sequence[_Timings], reading: Reading) -> list[Latency]:
    return [timing.summary(time, reading.clock) for timing, time in zip(timings, reading.seconds, strict=True)]


def _read(timings: Sequence[_Timings], options: LatencyOptions) -> Reading:
    """Read what all bursts took, by both clocks where the thread's is a witness."""
    sets = []
    for models in zip(*(timing.bursts for timing in timings), strict=True):
        rounds = zip(*models, strict=True)
        sets.append(np.array([[(burst.fastest, burst.cpu) for burst in bursts] for bursts in rounds]))
    if options.threads != 1 or any(bursts.min() <= 0 for bursts in sets):  # a CPU clock too coarse for these models
        sets = [bursts[:, :, :1] for bursts in sets]
    return read(sets, options.seed)


def _undisturbed(timings: Sequence[_Timings]) -> bool:
    """Whether the thread had the processor nearly all the time: what else runs moves ratios for seconds on end."""
    wall, cpu = (sum(float(timing.inferences(clock).sum()) for timing in timings) for clock in CLOCKS)
    return cpu > (1 - _DISTURBED) * wall


def _interleave(
    paths: Sequence[Path], walk: Walk, options: LatencyOptions, *, apart: bool = False
) -> tuple[list[_Timings], Reading]:
    rng, seconds, limits = np.random.default_rng(options.seed), options.seconds, options.limits
    timings, walk = [_Timings() for _ in paths], _bounded(walk, paths[0], options.threads)
    budget, number, begun = 0.0, 0, perf_counter()
    with no_gc():
        while True:
            started, order = perf_counter(), [*range(len(paths))][:: -1 if number % 2 else 1]
            if apart:
                for i in order:
                    _time_alone(paths[i], timings[i], walk, options.threads)
                number += 1
                fewest = min(SETS[0], max(_FEWEST_APART, int(_PATIENCE_APART / (perf_counter() - started))))
                if number >= fewest:
                    return timings, _read(timings, options)
                continue
            sessions = _open(paths, timings, options.threads, order)
            times = math.ceil(BURST / geometric_mean([_warm_up(session, walk) for session in sessions]))
            if number == 0:  # the first set shows what a set costs before its rounds, and so how many there can be
                ready = perf_counter() - started
                sets = min(max(int(seconds / 2 / ready), SETS[0]), SETS[1])
                budget = max(seconds / sets - ready, seconds / 2 / sets)
            _rounds(sessions, times, walk, timings, budget, rng)
            del sessions  # before the next set is opened: never more than one in memory
            give_back_memory()
            number += 1
            if number < SETS[0]:
                continue
            reading = _read(timings, options)
            spent = (perf_counter() - begun) * (number + 1) / number  # with one more set
            if spent > seconds * options.patience or (spent > seconds and sure(reading, limits)):
                return timings, reading
            if fine(reading, limits) and _undisturbed(timings):
                return timings, reading


def _open(paths: Sequence[Path], timings: Sequence[_Timings], threads: int, order: Sequence[int]) -> list[Session]:
    """Open a session for each path; who comes first gets other memory, so the order turns from set to set."""
    sessions = {}
    for i in order:
        started = perf_counter()
        sessions[i] = Session(paths[i], threads=threads)
        timings[i].loads.append(perf_counter() - started)
    return [sessions[i] for i in range(len(paths))]


def _bounded(walk: Walk, path: Path, threads: int) -> Walk:
    """Return no more steps than a model walks in a short time: in a burst, it walks all of them."""
    if len(walk.steps) == 1:
        return walk
    seconds = float(Session(path, threads=threads).time_steps(walk.shortened(_FEWEST_STEPS), 2).min())
    return walk.shortened(max(int(_WALK / seconds), _FEWEST_STEPS))


def _time_alone(path: Path, timing: _Timings, walk: Walk, threads: int) -> None:
    """Open a model, time the fewest rounds of it, and close it."""
    (session,) = _open([path], [timing], threads, [0])
    times = math.ceil(BURST / _warm_up(session, walk))
    _rounds([session], times, walk, [timing], 0.0, np.random.default_rng())
    del session
    give_back_memory()


def _warm_up(session: Session, walk: Walk) -> float:
    """Walk until the latency falls no more; return that of the walk in seconds."""
    best, now = math.inf, float(session.time_steps(walk, 1).sum())
    for _ in range(10):
        if now > 0.95 * best:
            break
        best, now = min(best, now), float(np.median(session.time_steps(walk, 2).sum(axis=1)))
    return min(best, now)


def _rounds(
    sessions: Sequence[Session],
    times: int,
    walk: Walk,
    timings: Sequence[_Timings],
    budget: float,
    rng: np.random.Generator,
) -> None:
    """Time a set of sessions in rounds, each session one burst a round in random order, for `budget` seconds."""
    bursts: list[list[_Burst]] = [[] for _ in sessions]
    inferences = times * len(walk.steps)
    started = perf_counter()
    while len(bursts[0]) < MIN_ROUNDS or perf_counter() - started < budget:
        for i in rng.permutation(len(sessions)):
            if inferences > 1:
                sessions[i].time_steps(walk.shortened(1), 1)  # warms the caches again
            cpu = thread_time()
            seconds = sessions[i].time_steps(walk, times)
            bursts[i].append(_Burst(seconds, (thread_time() - cpu) / inferences))
    for timing, burst in zip(timings, bursts, strict=True):
        timing.bursts.append(burst)


@contextmanager
def no_gc() -> Iterator[None]:
    """Keep Python's garbage collector out of the timings."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
