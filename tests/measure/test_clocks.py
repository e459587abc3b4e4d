"""What bursts say of latencies: on synthetic noise whose truth is known."""

import numpy as np
import pytest

from compressctl.measure.clocks import FINE, SURE, Limits, fine, read, remarks, sure
from compressctl.measure.latency import SETS

SESSION_NOISE = 0.02  # log of the ratio: what sets one pair of sessions apart from another
ANYTHING = Limits()


def bursts(
    rng: np.random.Generator,
    truth: float,
    rounds: int = 25,
    *,
    session: float = SESSION_NOISE,
    stolen: float = 0.1,
    extra: float = 1.0,
    cpu: float | None = None,
) -> np.ndarray:
    """A set of sessions: seconds of a baseline and of a result that takes `truth` times as long.

    Each set has its own shift, and drifts as its sessions live; a share `stolen` of the bursts is interrupted, those of
    the result for `extra` times as long. With `cpu`, a CPU clock by which the ratio is that.
    """
    shift, drift = rng.normal(0, session), np.cumsum(rng.normal(0, 0.05, rounds))
    logs = np.stack([drift, drift + np.log(truth) + shift], axis=1)
    waits = (rng.random(logs.shape) < stolen) * rng.exponential(2.0, logs.shape)
    waits[:, 1] *= extra
    wall = 1e-3 * np.exp(logs + rng.normal(0, 0.01, logs.shape) + waits)
    if cpu is None:
        return wall[:, :, np.newaxis]
    logs[:, 1] += np.log(cpu / truth)
    return np.stack([wall, 1e-3 * np.exp(logs + rng.normal(0, 0.01, logs.shape))], axis=2)


def measured(rng: np.random.Generator, limits: Limits = ANYTHING, most: int = 60, **noise):
    """Sets until they tell what is asked, as `latency.py` adds them."""
    sets = [bursts(rng, **noise) for _ in range(SETS[0])]
    while len(sets) < most and not (sure if len(sets) >= SETS[1] else fine)(read(sets, 0), limits):
        sets.append(bursts(rng, **noise))
    return read(sets, 0), len(sets)


@pytest.mark.parametrize("sets", SETS)
@pytest.mark.parametrize("truth", [1.0, 0.6])
def test_the_interval_covers_the_truth_in_nine_of_ten_runs(sets: int, truth: float) -> None:
    rng = np.random.default_rng(sets)
    runs = [read([bursts(rng, truth) for _ in range(sets)], seed=i).ratios[0] for i in range(200)]
    assert np.mean([run.low <= truth <= run.high for run in runs]) >= 0.9
    assert np.mean([run.value for run in runs]) == pytest.approx(truth, rel=0.01)


@pytest.mark.parametrize("session", [SESSION_NOISE, 0.06])
def test_it_still_does_where_narrow_intervals_end_the_measurement(session: float) -> None:
    rng = np.random.default_rng(0)
    runs = [measured(rng, truth=0.6, session=session)[0].ratios[0] for _ in range(80)]
    assert np.mean([run.low <= 0.6 <= run.high for run in runs]) >= 0.88
    assert max(run.half_width() for run in runs) <= SURE


def test_resampling_rounds_alone_would_not_cover() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        rounds = np.concatenate([np.diff(np.log(bursts(rng, 1.0)[:, :, 0]), axis=1)[:, 0] for _ in range(12)])
        means = np.median(rounds[rng.integers(len(rounds), size=(200, len(rounds)))], axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        covered.append(low <= 0 <= high)
    assert np.mean(covered) < 0.8


def test_a_difference_beyond_the_noise_is_found() -> None:
    rng = np.random.default_rng(1)
    highs = [read([bursts(rng, 0.9) for _ in range(12)], seed=i).ratios[0].high for i in range(100)]
    assert np.mean(np.array(highs) < 1) >= 0.95


@pytest.mark.parametrize("stolen", [0.0, 0.5, 0.9])
def test_times_and_ratios_are_one_statement(stolen: float) -> None:
    rng = np.random.default_rng(2)
    sets = [bursts(rng, 0.4, stolen=stolen, cpu=0.4) for _ in range(5)]
    three = read([np.concatenate([one, other[:, 1:]], axis=1) for one, other in zip(sets, sets[::-1], strict=True)], 0)
    for seconds, ratio in zip(three.seconds[1:], three.ratios, strict=True):
        assert seconds.value / three.seconds[0].value == pytest.approx(ratio.value, rel=1e-9)
        assert seconds.low <= seconds.value <= seconds.high and ratio.low <= ratio.value <= ratio.high


def test_a_quiet_machine_is_soon_done_and_a_noisy_one_later() -> None:
    rng = np.random.default_rng(3)
    quiet, few = measured(rng, truth=0.5, session=0.005)
    noisy, many = measured(rng, truth=0.5, session=0.1)
    assert few == SETS[0] and quiet.ratios[0].half_width() <= FINE
    assert many > SETS[1] and noisy.witnesses[0].doubt is None


def test_a_limit_within_the_interval_is_measured_on() -> None:
    rng = np.random.default_rng(4)
    found, sets = measured(rng, Limits(ratio=0.49), truth=0.5)
    assert sets > SETS[0] and not found.ratios[0].straddles(0.49)
    found, sets = measured(rng, Limits(ratio=0.5), most=20, truth=0.5)
    assert sets == 20 or found.ratios[0].low >= 0.5 or found.ratios[0].high <= 0.5
    milliseconds = read([bursts(rng, 0.5) for _ in range(5)], 0).seconds[1].value * 1e3
    assert not sure(read([bursts(rng, 0.5) for _ in range(5)], 0), Limits(ms=milliseconds))


def test_where_the_wall_clock_cannot_tell_the_cpu_clock_does() -> None:
    rng = np.random.default_rng(5)
    sets = [bursts(rng, 0.57, 6, stolen=0.7, cpu=0.57) for _ in range(8)]
    found = read(sets, 0)
    (ratio,), (witnesses,) = found.ratios, found.witnesses
    assert witnesses.wall.half_width() > SURE >= ratio.half_width() and ratio == witnesses.cpu
    assert (found.clock, witnesses.doubt) == ("cpu", None)
    assert ratio.low <= 0.57 <= ratio.high
    assert "other processes take the cores" in remarks(ratio, witnesses)[0].text
    alone = read([one[:, :, :1] for one in sets], 0)
    assert (alone.clock, alone.witnesses[0].doubt, alone.witnesses[0].cpu) == ("wall", "wide", None)
    assert remarks(alone.ratios[0], alone.witnesses[0])[0].text.startswith("latency: cannot tell on this machine now")


def test_clocks_that_contradict_each_other_leave_an_interval_that_spans_both() -> None:
    rng = np.random.default_rng(6)
    found = read([bursts(rng, 0.3, cpu=0.6) for _ in range(12)], 0)
    (ratio,), (witnesses,) = found.ratios, found.witnesses
    assert witnesses.doubt == "contradiction"
    assert ratio.low < 0.31 and ratio.high > 0.59 and ratio.straddles(0.5)
    assert found.seconds[1].high / found.seconds[1].low > 1.9
    assert not sure(found, ANYTHING)
    assert "by the wall clock" in remarks(ratio, witnesses)[0].text


def test_the_wall_clock_counts_where_it_can_tell() -> None:
    rng = np.random.default_rng(7)
    found = read([bursts(rng, 0.61, cpu=0.6) for _ in range(12)], 0)
    assert found.clock == "wall" and found.witnesses[0].doubt is None
    assert remarks(found.ratios[0], found.witnesses[0]) == []
