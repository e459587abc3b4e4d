"""Profiles and the operators that onnxruntime really runs."""

import numpy as np
import onnx
import pytest

from compressctl.errors import ModelError, OutputError
from compressctl.measure.profile import _own_times, executed_ops, profile
from tests.disk import files_up_to
from tests.graphs import parse

HEADER = '<ir_version: 10, opset_import: ["" : 20]>\n'
RNG = np.random.default_rng(0)


def saved(path, body: str, **weights: np.ndarray):
    onnx.save(parse(HEADER + body, **weights), path)
    return path


BRANCHES = """g (float[N,64] x, bool c) => (float[N,64] y) { y = If(c) <
    then_branch = t () => (float[N,64] a) { r = Sin(x) a = Exp(r) },
    else_branch = e () => (float[N,64] b) { b = Tan(x) }> }"""


def test_the_slow_node_is_found_and_shares_sum_to_one(tmp_path) -> None:
    weights = {"small": RNG.normal(size=(8, 8)), "large": RNG.normal(size=(8, 4096))}
    path = saved(
        tmp_path / "model.onnx",
        "g (float[N,8] x) => (float[N,4096] y) { [quick] a = MatMul(x, small) b = Sin(a) [slow] y = MatMul(b, large) }",
        **{name: array.astype(np.float32) for name, array in weights.items()},
    )
    found = profile(path, {"x": RNG.normal(size=(64, 8)).astype(np.float32)}, threads=1, runs=10)
    assert {row.op: row.count for row in found.by_op} == {"MatMul": 2, "Sin": 1}
    assert (found.slowest[0].name, found.slowest[0].op) == ("slow", "MatMul")
    assert found.by_op[0].op == "MatMul"
    assert sum(row.share for row in found.by_op) == pytest.approx(1)
    assert sum(row.ms for row in found.by_op) == pytest.approx(found.total_ms)
    assert sum(row.ms for row in found.slowest) == pytest.approx(found.total_ms)
    assert list(tmp_path.iterdir()) == [path]


def test_bodies_count_for_themselves(tmp_path) -> None:
    path = saved(tmp_path / "model.onnx", BRANCHES)
    feeds = {"x": RNG.normal(size=(4096, 64)).astype(np.float32), "c": np.array(True)}
    found = {row.op: row for row in profile(path, feeds, threads=1, runs=5).by_op}
    assert set(found) == {"If", "Sin", "Exp"}
    assert found["If"].ms < found["Sin"].ms + found["Exp"].ms


def event(op: str, start: int, duration: int) -> dict:
    return {"cat": "Node", "name": f"{op}_kernel_time", "ts": start, "dur": duration, "args": {"op_name": op}}


def test_own_times_of_nested_bodies() -> None:
    events = [  # in the order in which they end, as onnxruntime writes them
        event("Exp", 12, 5),
        event("If", 11, 8),
        event("Add", 20, 7),
        event("Loop", 10, 20),
        event("Relu", 30, 4),
        {"cat": "Session", "name": "model_run", "ts": 9, "dur": 40, "args": {}},
    ]
    own = {found["args"]["op_name"]: microseconds for found, microseconds in _own_times(events)}
    assert own == {"Exp": 5, "If": 3, "Add": 7, "Loop": 5, "Relu": 4}


def test_executed_ops_are_those_of_the_optimised_graph(tmp_path) -> None:
    weight = RNG.normal(size=(16, 16, 3, 3)).astype(np.float32)
    body = "g (float[1,16,8,8] x) => (float[1,16,6,6] y) { i = Identity(x) c = Conv(i, w) y = Relu(c) }"
    found = executed_ops(saved(tmp_path / "conv.onnx", body, w=weight))
    assert found.get("Conv[NCHWc]", 0) + found.get("FusedConv", 0) == 1  # by the layout that this processor has
    assert not found.keys() & {"Identity", "Relu", "Conv"}
    assert [path.name for path in tmp_path.iterdir()] == ["conv.onnx"]


def test_executed_ops_show_the_integer_kernels(tmp_path) -> None:
    body = """g (float[1,16,8,8] x) => (float[1,16,6,6] y)
        <float s = {0.1}, uint8 z = {0}, float ws = {0.01}, int8 wz = {0}> {
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(w, ws, wz)
            c = Conv(d, v) r = Relu(c) p = QuantizeLinear(r, s, z) y = DequantizeLinear(p, s, z) }"""
    weight = RNG.integers(-127, 128, (16, 16, 3, 3)).astype(np.int8)
    found = executed_ops(saved(tmp_path / "qdq.onnx", body, w=weight))
    assert (found["QLinearConv"], found["QuantizeLinear"], found["DequantizeLinear"]) == (1, 1, 1)
    assert not found.keys() & {"Conv", "Conv[NCHWc]", "FusedConv", "Relu"}


def test_executed_ops_count_bodies(tmp_path) -> None:
    assert executed_ops(saved(tmp_path / "if.onnx", BRANCHES)) == {"Exp": 1, "If": 1, "Sin": 1, "Tan": 1}


def test_executed_ops_of_what_is_no_model(tmp_path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        executed_ops(path)


def test_a_full_disk_is_no_fault_of_the_model(tmp_path) -> None:
    weights = {"w": RNG.normal(size=(64, 64)).astype(np.float32)}
    path = saved(tmp_path / "m.onnx", "g (float[N,64] x) => (float[N,64] y) { y = MatMul(x, w) }", **weights)
    with files_up_to(4096):
        assert executed_ops(path) == {"MatMul": 1}  # weights take no room
    with files_up_to(64), pytest.raises(OutputError, match="cannot be written to"):
        executed_ops(path)
    assert executed_ops(path) == {"MatMul": 1}
