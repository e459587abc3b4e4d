"""Runs without measuring: because they were told to, or since the input runs on nothing that could be made up."""

import numpy as np
import onnx
import pytest

from compressctl.measure.session import Session
from tests.graphs import Random, parse
from tests.samples import CNN

# It takes 21 numbers in all, which neither the input's shape nor a limit of any operator tells.
PICKY = """
<ir_version: 8, opset_import: ["" : 17]> g (float[n, k] x) => (float[3, 600] y) <int64[2] s = {3, 7}> {
    a = Reshape(x, s)
    y = MatMul(a, w)
}
"""


@pytest.fixture
def picky(tmp_path):
    onnx.save(parse(PICKY, w=Random(0)(7, 600)), tmp_path / "picky.onnx")
    return tmp_path / "picky.onnx"


def test_without_measuring_the_file_is_the_same_and_no_figure_is_made_up(command, tmp_path):
    flags = ("--scheme", "int8", "--calibrate", "digits:train[:64]")
    code, _, report = command("quantize", CNN, "--no-measure", *flags)
    assert (code, report["verdict"]) == (0, "not measured")
    assert report["output"]["latency"] is None and not report["output"]["fidelity"]
    assert report["output"]["bytes"] == (tmp_path / "out.onnx").stat().st_size < report["input"]["bytes"]
    weights = stored(tmp_path / "out.onnx")
    _, _, measured = command("quantize", CNN, *flags)
    assert measured["output"]["latency"]["median_ms"] > 0
    assert stored(tmp_path / "out.onnx") == weights


def stored(path):
    return [tensor.SerializeToString() for tensor in onnx.load(path).graph.initializer]


@pytest.mark.parametrize(("limit", "code"), [("100kB", 0), ("1kB", 4)])
def test_sizes_are_judged_all_the_same(command, limit, code):
    found, _, report = command("quantize", CNN, "--no-measure", "--scheme", "int8-weights", "--max-size", limit)
    assert found == code and report["budgets"][0]["met"] == (code == 0)


@pytest.mark.parametrize(
    "flags",
    [("--max-latency-ms", "3"), ("--min-sqnr", "9"), ("--min-sqnr", "0"), ("--explain",), ("--latency-ratio", "1")],
)
def test_what_has_to_be_measured_is_refused_beside_it(command, flags):
    code, stderr, report = command("quantize", CNN, "--no-measure", *flags)
    assert (code, report) == (2, None)
    assert f"error: {flags[0]} needs measuring\n  hint: leave --no-measure out" in stderr


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("quantize", ("--scheme", "int8-dynamic")),
        ("quantize", ("--scheme", "int4")),
        ("quantize", ()),
        ("prune", ("--structure", "none", "--ratio", "0.5")),
        ("cluster", ()),
    ],
)
def test_a_model_that_runs_on_nothing_made_up_is_compressed_unmeasured(command, picky, tmp_path, name, flags):
    code, _, report = command(name, picky, *flags)
    assert (code, report["verdict"]) == (0, "not measured")
    (note,) = [note["text"] for note in report["notes"] if note["kind"] == "warning"]
    assert "nothing was measured, for the input runs on nothing that could be made up" in note and "--data" in note
    assert report["output"]["bytes"] < report["input"]["bytes"]
    x = np.random.default_rng(1).normal(size=(21, 1)).astype(np.float32)
    before, after = (Session(path).run({"x": x})["y"] for path in (picky, tmp_path / "out.onnx"))
    assert np.linalg.norm(before - after) < np.linalg.norm(before)


@pytest.mark.parametrize("flags", [("--calibrate", "random"), ("--min-sqnr", "9"), ("--explain",)])
def test_it_is_refused_where_it_has_to_run(command, picky, flags):
    code, stderr, report = command("quantize", picky, *flags)
    assert (code, report) == (3, None)
    assert "cannot run" in stderr and "Reshape" in stderr
