"""What timed bursts say of latencies: figures that agree with each other, how sure they are, and by which clock.

A *burst* is a few runs of one model without a pause: the fastest counts, by the CPU clock their mean. In a *round*
every model has one; a *set* is the rounds of one set of sessions. In a set, a model's ratio is the median over the
rounds of its burst over the baseline's: what slows the machine for a while slows both. Its time is the baseline's, the
median of its bursts, times that ratio. Over the sets, times and ratios are geometric means. So a quotient of two times
is the ratio beside them, exactly.

The wall clock is what a user waits for. Where other processes take the cores, it counts their work too, and a model
that is interrupted more often looks slower than it is. The CPU clock of the one thread that runs the model stands still
then: it is the second witness. Of more threads it is none, as they spend CPU time waiting for each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from compressctl.arrays import Floats
from compressctl.measure.interval import Interval
from compressctl.notes import Note, warning
from compressctl.numerics.statistics import group_interval

Clock = Literal["wall", "cpu"]
Doubt = Literal["wide", "contradiction"]
CLOCKS: tuple[Clock, ...] = ("wall", "cpu")
UNTOLD = "cannot tell on this machine now"

MATERIAL = 0.01  # smaller changes of latency or size decide nothing
SURE = 0.05  # half an interval's width, as a share: what is wider tells less than most passes gain
FINE = 0.02  # the same: what is narrower need not be measured on


@dataclass(frozen=True)
class Limits:
    """What the latencies are going to be held against: a limit within an interval is a reason to measure on.

    Attributes:
        ratio: of each result over the baseline.
        ms: milliseconds of each result.
    """

    ratio: float | None = None
    ms: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Witnesses:
    """How a latency ratio was found.

    Attributes:
        clock: the clock of the ratio, and of the times beside it.
        wall: the ratio by the wall clock.
        cpu: the ratio by the thread's CPU clock; None where more than one thread runs the model.
        doubt: why it cannot be told on this machine now: the interval is "wide" (more than 5 % of the ratio to each
            side), or the clocks are in "contradiction", and the interval of the ratio spans what both say; None where
            it can.
    """

    clock: Clock
    wall: Interval
    cpu: Interval | None
    doubt: Doubt | None


@dataclass(frozen=True)
class Reading:
    """What bursts say of a baseline and results.

    Attributes:
        clock: by which the times and ratios are.
        seconds: of each model, the baseline first.
        ratios: of each result over the baseline.
        witnesses: of each ratio.
    """

    clock: Clock
    seconds: tuple[Interval, ...]
    ratios: tuple[Interval, ...]
    witnesses: tuple[Witnesses, ...]


def read(sets: Sequence[Floats], seed: int) -> Reading:
    """Return what bursts say.

    Args:
        sets: of each set what bursts took, seconds, shape (rounds, models, clocks): the baseline first, the wall clock
            first; at least two sets.
        seed: of the bootstrap.
    """
    logs = {clock: _logs(sets, index) for index, clock in enumerate(CLOCKS[: sets[0].shape[2]])}
    times = {clock: [_interval(column, seed) for column in found.T] for clock, found in logs.items()}
    ratios = {clock: [_interval(column - found[:, 0], seed) for column in found.T[1:]] for clock, found in logs.items()}
    clock = _choose(ratios)
    found = [
        _witnessed(
            clock,
            {name: every[model] for name, every in ratios.items()},
            {name: every[model + 1] for name, every in times.items()},
        )
        for model in range(len(ratios[clock]))
    ]
    spans, seconds, witnesses = zip(*found, strict=True) if found else ((), (), ())
    return Reading(clock, (times[clock][0], *seconds), spans, witnesses)


def fine(reading: Reading, limits: Limits) -> bool:
    """Whether more sets would change nothing: all intervals are narrow, and no limit, nor equality, is within one."""
    return sure(reading, limits) and all(
        ratio.half_width() <= FINE and not ratio.straddles(1 + MATERIAL) for ratio in _ratios(reading)
    )


def sure(reading: Reading, limits: Limits) -> bool:
    """Whether all can be told that is asked for: no ratio is in doubt, and no limit is within an interval."""
    return (
        all(witnesses.doubt is None for witnesses in reading.witnesses)
        and not any(limits.ratio is not None and ratio.straddles(limits.ratio) for ratio in reading.ratios)
        and not any(limits.ms is not None and time.straddles(limits.ms / 1e3) for time in reading.seconds[1:])
    )


def remarks(ratio: Interval | None, witnesses: Witnesses | None) -> list[Note]:
    """Say where a ratio cannot be told, and where it is not the wall clock's; nothing where there is none."""
    if ratio is None or witnesses is None:
        return []
    wall, cpu = f"{told(witnesses.wall)} by the wall clock", ""
    if witnesses.cpu is not None:
        cpu = f"{told(witnesses.cpu)} by the CPU clock of the thread"
    if witnesses.doubt == "contradiction":
        return [warning(f"latency: {UNTOLD}: {wall}, {cpu}")]
    if witnesses.doubt == "wide":
        why = "other processes take the cores, or the speed differs each time a model is loaded"
        return [warning(f"latency: {UNTOLD}: {told(ratio)}; {why}")]
    if witnesses.clock == "cpu":
        return [warning(f"other processes take the cores: latencies are {cpu}, with {wall}")]
    return []


def told(ratio: Interval) -> str:
    """Return a ratio in words, with its interval."""
    return f"x {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _ratios(reading: Reading) -> tuple[Interval, ...]:
    """The ratios, or of a model alone its time: its own level is all that there is to tell."""
    return reading.ratios or reading.seconds


def _logs(sets: Sequence[Floats], clock: int) -> Floats:
    """Return the logarithms of seconds, shape (sets, models)."""
    rows = []
    for bursts in sets:
        logs = np.log(bursts[:, :, clock])
        rows.append(np.median(logs[:, 0]) + np.median(logs - logs[:, :1], axis=0))
    return np.array(rows)


def _interval(logs: Floats, seed: int) -> Interval:
    low, high = group_interval(logs, seed=seed)
    return Interval(math.exp(logs.mean()), math.exp(low), math.exp(high))


def _choose(found: Mapping[Clock, Sequence[Interval]]) -> Clock:
    """The wall clock, unless it is too unsure for one of the ratios and the other one surer.

    One for all models: their times stand side by side, over the same baseline.
    """
    widest = {clock: max((ratio.half_width() for ratio in ratios), default=0.0) for clock, ratios in found.items()}
    return "cpu" if widest["wall"] > SURE and widest.get("cpu", math.inf) < widest["wall"] else "wall"


def _witnessed(
    clock: Clock, ratios: Mapping[Clock, Interval], times: Mapping[Clock, Interval]
) -> tuple[Interval, Interval, Witnesses]:
    """Return the ratio and the seconds of a model by a clock, spanning both where they contradict each other."""
    ratio, seconds, wall, cpu = ratios[clock], times[clock], ratios["wall"], ratios.get("cpu")
    if cpu is not None and _apart(wall, cpu):
        spans = ratio.spanning(wall, cpu), seconds.spanning(*times.values())
        return *spans, Witnesses(clock, wall, cpu, "contradiction")
    return ratio, seconds, Witnesses(clock, wall, cpu, "wide" if ratio.half_width() > SURE else None)


def _apart(a: Interval, b: Interval) -> bool:
    """Whether two intervals exclude each other, by more than clocks may differ in what they count."""
    return a.low > b.high * (1 + SURE) or b.low > a.high * (1 + SURE)
