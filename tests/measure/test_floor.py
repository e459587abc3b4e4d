"""The fidelity floor: which outputs fall short of it, and in what."""

import math

import pytest

from compressctl.measure.fidelity import OutputFidelity
from compressctl.measure.floor import TARGET, VERDICT, shortfall


def _output(sqnr: float = 30.0, agreement: float | None = None, count: int = 256, strange: int = 0) -> OutputFidelity:
    return OutputFidelity("y", agreement, count, sqnr, 1.0, 1.0, 0.1, 0, strange)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (_output(), []),
        (_output(math.inf, 1.0), []),
        (_output(9.9), ["SQNR"]),
        (_output(-math.inf), ["SQNR"]),
        (_output(30.0, 0.8), ["agreement"]),
        (_output(2.0, 0.11), ["SQNR", "agreement"]),
        (_output(30.0, 7 / 8, 8), []),  # one of eight is chance
        (_output(30.0, 1 / 8, 8), ["agreement"]),
        (_output(math.nan, 0.0, strange=3), ["non-finite"]),
    ],
)
def test_what_falls_short(output, expected):
    assert [found.what for found in shortfall([output], VERDICT)] == expected


def test_outputs_are_judged_apart():
    found = shortfall([_output(40.0), _output(5.0)], TARGET)
    assert [(one.value, one.limit) for one in found] == [(5.0, TARGET.sqnr_db)]
