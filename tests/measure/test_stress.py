"""Results are tried on inputs that no sample shows."""

import numpy as np
import onnx

from compressctl.measure.session import Session
from compressctl.measure.stress import StressTest


def _session(body: str) -> Session:
    text = f"""<ir_version: 8, opset_import: ["": 17]> agraph (float[N, 3] x, int64[N] i) => (float[N, 3] y, int64[N] j)
        <float one = {{1.0}}, float tiny = {{0.000001}}> {{ {body} j = Identity(i) }}"""
    return Session(onnx.parser.parse_model(text).SerializeToString(), threads=1)


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
