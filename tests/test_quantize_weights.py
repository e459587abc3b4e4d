"""`compressctl quantize` of weights alone, end to end: what each scheme writes, and how options are refused."""

import numpy as np
import onnx
import pytest

from tests.samples import CNN, LSTM, MLP, TRANSFORMER

COMMAND = "quantize"
MEASURED = ("--data", "digits:test", "--metric", "top1")


@pytest.mark.parametrize("model", [CNN, MLP, LSTM, TRANSFORMER], ids=lambda path: path.stem)
@pytest.mark.parametrize(("scheme", "ratio", "score"), [("fp16", 0.62, 0.95), ("int4", 0.45, 0.9)])
def test_files_get_smaller_and_answers_stay(report, tmp_path, model, scheme, ratio, score):
    found = report(model, "--scheme", scheme, *MEASURED)
    assert [one["type"] for one in found["passes"]] == ["simplify", "quantize_weights"]
    assert found["output"]["size_ratio"] < ratio and found["output"]["score"]["value"] > score
    assert found["recipe"]["on_regression"] == "keep"
    opset = {entry.domain: entry.version for entry in onnx.load(tmp_path / "out.onnx").opset_import}
    assert opset == {entry.domain: entry.version for entry in onnx.load(model).opset_import}


@pytest.mark.long
def test_samples_make_signs_usable(report):
    plain = report(CNN, "--scheme", "int1", *MEASURED, "--calibrate", "digits:train[:8]", "--rounding", "nearest")
    fitted = report(CNN, "--scheme", "int1", *MEASURED, "--calibrate", "digits:train[:256]", "--force")
    assert fitted["passes"][1]["facts"]["rounding"] == "gptq"
    scores = [one["output"]["score"]["value"] for one in (plain, fitted)]
    assert scores[0] < scores[1]


def test_a_weight_that_is_infinite_is_refused_by_name(call, tmp_path):
    proto = onnx.load(MLP)
    tensor = max(proto.graph.initializer, key=lambda one: np.prod(one.dims))
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[0, 0] = np.inf
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(proto, tmp_path / "bad.onnx")
    code, _, stderr = call(tmp_path / "bad.onnx", "--scheme", "int4")
    assert code == 3 and "holds NaN" in stderr and tensor.name in stderr
    assert not (tmp_path / "out.onnx").exists()
