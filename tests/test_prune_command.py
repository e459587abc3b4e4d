"""`compressctl prune`, end to end: what each flag does, what it writes, and how it refuses."""

import numpy as np
import onnx
import pytest

from tests.samples import CNN, LSTM, MLP, TRANSFORMER

COMMAND = "prune"
HIDDEN = "/hidden/Gemm"
SAMPLES = ("--calibrate", "digits:train[:64]")
TRAINED = ("--finetune", "digits:train[:256]", "--steps", 4)


def options(found: dict, index: int = 1) -> dict:
    return found["passes"][index]["options"]


def units(found: dict, index: int = 1) -> dict[str, int]:
    return {row["name"]: row["after"] for row in found["passes"][index]["facts"]["groups"]}


@pytest.mark.parametrize("model", [CNN, MLP, LSTM, TRANSFORMER], ids=lambda path: path.stem)
def test_a_ratio_makes_the_file_smaller(report, tmp_path, model):
    found = report(model, "--ratio", 0.5, *SAMPLES, "--data", "digits:test", "--metric", "top1")
    assert [one["type"] for one in found["passes"]] == ["simplify", "prune"]
    assert found["output"]["size_ratio"] < 0.7 and found["output"]["parameters"] < 0.6 * found["input"]["parameters"]
    assert found["output"]["score"]["value"] > 0.5
    assert found["recipe"]["on_regression"] == "keep"
    onnx.checker.check_model(tmp_path / "out.onnx")


def test_keep_is_what_ratio_leaves_and_no_simplify_leaves_the_pass_out(report):
    (only,) = report(MLP, "--keep", 0.7, "--no-simplify")["passes"]
    assert only["type"] == "prune" and only["options"]["ratio"] == 0.3


@pytest.mark.parametrize("target", ["macs", "size"])
def test_a_target_is_met_or_the_exit_code_says_so(report, target):
    found = report(MLP, f"--target-{target}", 0.5)
    (verdict,) = found["budgets"]
    assert verdict["budget"] == f"target_{target}" and verdict["limit"] == 0.5 and verdict["met"]
    missed = report(MLP, f"--target-{target}", 0.01, "--force", code=4)
    assert missed["verdict"] == "budget missed" and missed["budgets"][0]["value"] > 0.01


def test_structures_are_chosen(report):
    found = units(report(TRANSFORMER, "--ratio", 0.5, "--structure", "head", "--structure", "width"))
    assert found["/layer1/query/MatMul"] == 2 and found["/embed/MatMul"] == 32 and found["/layer1/expand/MatMul"] == 128
    found = report(TRANSFORMER, "--ratio", 0.5, "--structure", "block", "--force")
    assert found["output"]["macs"] < 0.7 * found["input"]["macs"]


@pytest.mark.long
def test_finetune_trains_after_the_cut(report):
    found = report(
        MLP, "--ratio", 0.75, *TRAINED, "--teacher-weight", 0.25, "--data", "digits:test", "--metric", "top1"
    )
    assert [one["type"] for one in found["passes"]] == ["simplify", "prune", "finetune", "simplify"]
    assert found["recipe"]["train"] == "digits:train[:256]"
    assert options(found, 2)["steps"] == 4 and options(found, 2)["teacher_weight"] == 0.25
    assert found["passes"][2]["facts"]["steps"] == 4
    assert options(found, 1)["reconstruct"] is False


@pytest.mark.long
def test_blocks_go_and_training_follows(report):
    found = report(TRANSFORMER, "--structure", "block", "--ratio", 0.5, *TRAINED)
    assert [one["type"] for one in found["passes"]] == ["simplify", "prune", "finetune", "simplify"]
    assert found["output"]["macs"] < 0.6 * found["input"]["macs"]


@pytest.mark.long
def test_rounds_cut_and_train_in_turn(report):
    found = report(MLP, "--ratio", 0.5, "--rounds", 2, *TRAINED)
    assert [one["type"] for one in found["passes"]] == [
        "simplify",
        "prune",
        "finetune",
        "prune",
        "finetune",
        "simplify",
    ]
    # the cubic schedule: 0.5 (1 - (1 - k / 2)³)
    assert [options(found, index)["ratio"] for index in (1, 3)] == [0.4375, 0.5]
    assert [units(found, index)[HIDDEN] for index in (1, 3)] == [80, 64]


@pytest.mark.parametrize(
    "flags, zeros",
    [(("--ratio", 0.5), 0.5), (("--keep", 0.25), 0.75), (("--nm", "2:4"), 0.5), (("--threshold", 1e9), 1.0)],
)
def test_single_weights_become_zero(report, tmp_path, flags, zeros):
    found = report(MLP, "--structure", "none", *flags, "--format", "dense")
    assert [one["type"] for one in found["passes"]] == ["simplify", "sparsify", "store"]
    weights = [onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "out.onnx").graph.initializer]
    matrices = np.concatenate([w.ravel() for w in weights if w.ndim == 2])
    np.testing.assert_allclose(np.mean(matrices == 0), zeros, atol=0.01)


def test_zeros_of_single_weights_save_bytes(report):
    found = report(MLP, "--structure", "none", "--ratio", 0.9)
    assert found["output"]["bytes"] < 0.3 * found["input"]["bytes"]
    assert found["output"]["parameters"] == found["input"]["parameters"]
    forced = report(MLP, "--structure", "none", "--ratio", 0.9, "--format", "bitmask", "--force")
    assert {row["format"] for row in forced["passes"][2]["facts"]["tensors"]} == {"bitmask"}
    assert found["output"]["bytes"] <= forced["output"]["bytes"]


@pytest.mark.long
def test_rounds_of_single_weights_end_at_the_ratio(report):
    found = report(MLP, "--structure", "none", "--ratio", 0.8, "--rounds", 2, "--importance", "magnitude", *TRAINED)
    assert [options(found, index)["ratio"] for index in (1, 3)] == [0.7, 0.8]
