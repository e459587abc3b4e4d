"""`compressctl cluster`, end to end: what each flag does, what it writes, and how it refuses."""

import numpy as np
import onnx
import pytest

from tests.samples import CNN, LSTM, MLP, TRANSFORMER

COMMAND = "cluster"
SAMPLES = ("--calibrate", "digits:train[:64]")
DIGITS = ("--data", "digits:test", "--metric", "top1")
TRAINED = ("--finetune", "digits:train[:256]", "--steps", 4)


def types(found: dict) -> list[str]:
    return [one["type"] for one in found["passes"]]


def options(found: dict, index: int = 1) -> dict:
    return found["passes"][index]["options"]


@pytest.mark.parametrize(
    ("model", "size"),
    [
        pytest.param(CNN, 0.25, id="cnn", marks=pytest.mark.long),
        pytest.param(MLP, 0.3, id="mlp"),
        pytest.param(LSTM, 0.25, id="lstm"),
        pytest.param(TRANSFORMER, 0.25, id="transformer", marks=pytest.mark.long),
    ],
)
def test_sixteen_values_are_four_bits_at_no_loss(report, tmp_path, model, size):
    found = report(model, *SAMPLES, *DIGITS)
    assert types(found) == ["simplify", "cluster", "store"] and options(found)["clusters"] == 16
    assert found["output"]["size_ratio"] < size
    assert found["output"]["score"]["value"] >= found["input"]["score"]["value"] - 0.02
    assert found["recipe"]["on_regression"] == "keep"
    assert max(row["clusters"] for row in found["passes"][1]["facts"]["layers"]) == 16
    onnx.checker.check_model(tmp_path / "out.onnx")


def test_dense_storage_shows_the_values_and_no_simplify_leaves_the_pass_out(report, tmp_path):
    assert types(report(MLP, "--no-simplify", "--clusters", 4, "--format", "dense")) == ["cluster", "store"]
    weights = [onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "out.onnx").graph.initializer]
    assert [len(np.unique(w)) for w in weights if w.ndim == 2] == [4, 4]


@pytest.mark.long
def test_finetune_trains_the_values(report, tmp_path):
    found = report(MLP, "--clusters", 4, *TRAINED, "--teacher-weight", 0.25, *DIGITS, "--format", "dense")
    assert types(found) == ["simplify", "cluster", "finetune", "store"]
    assert found["recipe"]["train"] == "digits:train[:256]"
    assert options(found, 2)["steps"] == 4 and options(found, 2)["teacher_weight"] == 0.25
    weights = [onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "out.onnx").graph.initializer]
    assert [len(np.unique(w)) for w in weights if w.ndim == 2] == [4, 4]
    free = report(MLP, "--clusters", 4, *TRAINED, "--free-clusters", "--learning-rate", 0.01, "--force")
    assert options(free, 2)["keep_clusters"] is False
    assert free["output"]["size_ratio"] > 0.9
