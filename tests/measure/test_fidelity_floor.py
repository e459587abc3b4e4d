"""The fidelity floor: which outputs fall short of it, and in what."""

import math
from dataclasses import replace

import pytest

from compressctl.measure.accuracy import Comparison
from compressctl.measure.fidelity import OutputFidelity
from compressctl.measure.floor import TARGET, VERDICT, below, shortfall
from compressctl.measure.interval import Interval
from compressctl.measure.latency import Latency
from compressctl.measure.measurement import Measurement
from compressctl.measure.stress import NonFinite


def _output(
    sqnr: float = 30.0, agreement: float | None = None, drop: float | None = None, count: int = 256, **others
) -> OutputFidelity:
    drop = 1 - agreement if drop is None and agreement is not None else drop
    return OutputFidelity(
        others.pop("name", "y"), agreement, count, sqnr, 1.0, 1.0, 0.1, expected_drop=drop, values=1, **others
    )


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (_output(), []),
        (_output(math.inf, 1.0), []),
        (_output(9.9), ["SQNR"]),
        (_output(-math.inf), ["SQNR"]),
        (_output(30.0, 0.8), ["expected drop"]),
        (_output(30.0, 0.8, 0.03), []),  # close calls
        (_output(30.0, 0.93, 0.06), ["expected drop"]),
        (_output(30.0, 0.93, 0.06, count=16), []),
        (_output(2.0, 0.11), ["SQNR", "expected drop"]),
        (_output(5.0, 0.99), []),  # a robust classifier: noisy scores, the same answers
        (_output(5.0, 0.99, count=32), ["SQNR"]),  # too few to tell
        (_output(5.0, 0.99, made_up=True), ["SQNR"]),
        (_output(30.0, 7 / 8, count=8), []),  # one of eight is chance
        (_output(30.0, 1 / 8, count=8), ["expected drop"]),
        (_output(12.0, 0.8, made_up=True, count=32), []),
        (_output(12.0, 0.1, made_up=True, count=32), ["agreement"]),
        (_output(12.0, 0.8, made_up=True, fitted=True, count=64), ["expected drop"]),  # data would show more
        (_output(math.nan, 0.0, new_non_finite=3), ["non-finite"]),
        (_output(math.nan, baseline_non_finite=3, result_non_finite=3), []),
        (_output(5.0, equal=0.97), []),  # labels
        (_output(5.0, equal=0.4), ["SQNR"]),
        (_output(20.0, varying_db=-1.0), ["varying"]),  # its mean would come closer
        (_output(20.0, varying_db=0.5), []),
        (_output(20.0, varying_db=-1.0, made_up=True), []),
        (_output(20.0, varying_db=-1.0, made_up=True, fitted=True), ["varying"]),
        (_output(20.0, varying_db=-4.0, made_up=True), ["varying"]),
        (_output(20.0, 0.99, varying_db=-4.0), []),  # the answers stay
        (_output(20.0, varying_db=-4.0, equal=0.97), []),
        (_output(5.0, varying_db=-4.0), ["SQNR"]),  # once is enough
    ],
)
def test_what_falls_short(output, expected):
    assert [found.what for found in shortfall([output], VERDICT)] == expected


def test_outputs_are_judged_apart():
    found = shortfall([_output(40.0), _output(5.0)], TARGET)
    assert [(one.value, one.limit) for one in found] == [(5.0, TARGET.sqnr_db)]


def _measured(*outputs: OutputFidelity, judged: str | None = "y", drop=(0.0, -0.01, 0.01), strange=()) -> Measurement:
    score, comparison = Interval(0.9, 0.88, 0.92), Comparison(*drop, 0.5)
    measured = Measurement("m", 1, 1, 1, 1, Latency(1.0, 1.0, 1, 1.0), score=score, drop=comparison, judged=judged)
    return replace(measured, fidelity=outputs, non_finite=strange)


def test_labels_outrank_the_floor_for_what_they_judge():
    student, boxes = _output(-3.0, 0.85), _output(2.0, name="boxes")
    assert below(_measured(student)) == ()
    assert [found.output for found in below(_measured(student, boxes))] == ["boxes"]
    assert below(_measured(student, boxes, judged=None)) == ()  # the metric reads all
    few = _measured(student, drop=(0.0, -0.2, 0.2))  # labels too few to exclude a large fall
    assert {found.what for found in below(few)} == {"SQNR", "expected drop"}
    assert below(_measured(_output(25.0), drop=(0.0, -0.2, 0.2))) == ()


def test_labels_excuse_no_nan():
    strange = _measured(_output(30.0), strange=(NonFinite("y", "zeros", 2),))
    assert [(found.what, found.inputs, found.value) for found in below(strange)] == [("non-finite", "zeros", 2)]
