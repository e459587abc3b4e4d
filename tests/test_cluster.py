"""`compressctl cluster`, end to end: what each flag does, what it writes, and how it refuses."""

from pathlib import Path

import numpy as np
import onnx
import pytest

pytestmark = pytest.mark.usefixtures("quick")
COMMAND = "cluster"
ROOT = Path(__file__).parents[1]
CNN, MLP, LSTM, TRANSFORMER = (ROOT / "sample_models" / f"{n}.onnx" for n in ("cnn", "mlp", "lstm", "transformer"))
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


def test_no_simplify_leaves_the_pass_out(report):
    assert types(report(MLP, "--no-simplify")) == ["cluster", "store"]


def test_options_reach_the_pass(report):
    found = report(
        MLP, "--clusters", 32, "--vector", 2, "--scope", "group", "--include", "/hidden/*", "--no-reconstruct", *SAMPLES
    )
    (row,) = found["passes"][1]["facts"]["layers"]
    assert row["layer"].startswith("/hidden/") and row["clusters"] == 32 and "output_error" not in row
    found = report(MLP, "--importance", "activation", "--exclude", "/hidden/*", *SAMPLES, "--force")
    assert options(found)["importance"] == "activation"
    assert not any(row["layer"].startswith("/hidden/") for row in found["passes"][1]["facts"]["layers"])


def test_dense_storage_shows_the_values(report, tmp_path):
    report(MLP, "--clusters", 4, "--format", "dense")
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


def test_the_same_command_gives_the_same_bytes(call, tmp_path):
    command = (MLP, "--clusters", 8, *SAMPLES, "--threads", 1)
    assert call(*command)[0] == 0
    first = (tmp_path / "out.onnx").read_bytes()
    assert call(*command)[0] == 0
    assert (tmp_path / "out.onnx").read_bytes() == first


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ((MLP, "--clusters", 1), 2, "greater than or equal to 2"),
        ((MLP, "--clusters", 300), 2, "less than or equal to 256"),
        ((MLP, "--vector", 3), 2, "vector"),
        ((MLP, "--scope", "channel"), 2, "channel"),
        ((MLP, "--importance", "taylor"), 2, "taylor"),
        ((MLP, "--importance", "activation"), 2, "importance activation needs samples"),
        ((MLP, "--reconstruct"), 2, "reconstructed on samples, and there are none"),
        ((MLP, "--reconstruct", "--importance", "hessian", *SAMPLES), 2, "importance cannot be hessian"),
        ((MLP, "--include", "nothing*"), 2, "include 'nothing*' matches no node"),
        ((MLP, "--epochs", 3), 2, "--epochs needs --finetune DATA"),
        ((MLP, "--teacher-weight", 0.5), 2, "--teacher-weight needs --finetune DATA"),
        ((MLP, "--train", "digits", *TRAINED), 2, "--train and --finetune both"),
        ((MLP, "--train", "digits"), 2, "--train: no pass of this run trains"),
        ((MLP, "--clusters", 256, "--exclude", "/hidden/*", "--vector", 8), 3, "no weight can be clustered: its"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, tmp_path, arguments, code, message):
    got, _, stderr = call(*arguments)
    assert got == code, stderr
    assert message in stderr and "Traceback" not in stderr
    assert not (tmp_path / "out.onnx").exists()
