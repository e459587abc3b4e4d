"""What lies beside an output, what makes it larger, and models that nothing can be fed to."""

import json
from pathlib import Path

import pytest

from compressctl import pipeline
from compressctl.guard import beside
from compressctl.measure.measurement import Measurement
from tests import graphs

NOISE = "c = RandomNormal <shape = [64, 64]> () y = MatMul (c, w)"
CONSTANT = "y = Neg (w)"


@pytest.mark.parametrize("body", [NOISE, CONSTANT])
@pytest.mark.parametrize("command", ["quantize", "simplify", "store"])
def test_models_without_inputs_are_worked_on_unmeasured(command, body, call, tmp_path):
    path = graphs.save(tmp_path / "m.onnx", body, {"w": graphs.Random(0)(64, 64)}, "", "float[64, 64] y")
    code, stdout, stderr = call(command, path, "-o", tmp_path / "out.onnx", "--json", "-q")
    assert code == 0, stderr
    assert json.loads(stdout)["verdict"] == "not measured"
    graphs.run(tmp_path / "out.onnx", {})


def test_what_has_to_run_is_refused_by_the_name_of_the_file(call, tmp_path):
    path = graphs.save(tmp_path / "m.onnx", CONSTANT, {"w": graphs.Random(0)(4, 4)}, "", "float[4, 4] y")
    for arguments in (("bench", path), ("quantize", path, "-o", tmp_path / "o.onnx", "--calibrate", "random")):
        code, _, stderr = call(*arguments)
        assert code != 0 and f"{path} has no inputs" in stderr


def test_outputs_that_differ_by_their_suffix_have_files_of_their_own():
    assert beside(Path("a/k.onnx"), ".report.json") == Path("a/k.report.json")
    assert len({beside(Path(f"k{suffix}"), ".front") for suffix in (".onnx", ".ccz", "")}) == 2


@pytest.mark.parametrize(("size", "worse"), [(5200, True), (5150, True), (5120, False), (4000, False)])
def test_any_growth_but_the_record_of_the_origin_is_told(size, worse):
    after = Measurement(path="m", bytes=size, parameters=1, nonzeros=1, macs=0, size_ratio=size / 5000)
    told = [note.text for note in pipeline._regressions(after, 80)]
    assert any("larger" in text for text in told) == worse
    assert bool(pipeline._recorded(after, 80)) == (size == 5120)
