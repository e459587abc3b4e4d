"""Results are tried on inputs that no sample shows."""

import numpy as np

from compressctl.measure.session import Session
from compressctl.measure.stress import StressTest
from tests.graphs import model


def _session(body: str) -> Session:
    inputs, outputs = "float[N, 3] x, int64[N] i", "float[N, 3] y, int64[N] j"
    return Session(model(f"{body} j = Identity(i)", {"one": np.float32(1)}, inputs, outputs), threads=1)


def test_where_a_result_is_not_finite_and_the_baseline_is():
    feeds = {"x": np.ones((2, 3), np.float32), "i": np.arange(2)}
    stress = StressTest(_session("a = Abs(x) b = Add(a, one) y = Div(x, b)"), feeds, 0)
    assert stress.non_finite(_session("y = Identity(x)")) == ()
    found = stress.non_finite(_session("a = Abs(x) y = Div(x, a)"))
    assert [(one.output, one.inputs, one.values) for one in found] == [("y", "zeros", 6)]
    noise = {one.inputs for one in stress.non_finite(_session("y = Sqrt(x)"))}
    assert noise == {f"noise ({number} of 4)" for number in (1, 2, 3, 4)}


def test_what_the_baseline_makes_of_zeros_is_no_fault_of_the_result():
    same = _session("a = Abs(x) y = Div(x, a)")
    assert StressTest(same, {"x": np.ones((2, 3), np.float32), "i": np.arange(2)}, 0).non_finite(same) == ()
