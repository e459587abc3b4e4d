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


def test_no_simplify_leaves_the_pass_out(report):
    found = report(MLP, "--ratio", 0.5, "--no-simplify")
    assert [one["type"] for one in found["passes"]] == ["prune"]


def test_keep_is_what_ratio_leaves(report):
    assert options(report(MLP, "--keep", 0.7))["ratio"] == 0.3


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
    stored = found["passes"][2]["facts"]
    assert {row["format"] for row in stored["tensors"]} == {"bitmask"} or stored["tensors"]
    assert found["output"]["bytes"] < 0.3 * found["input"]["bytes"]
    assert found["output"]["parameters"] == found["input"]["parameters"]
    forced = report(MLP, "--structure", "none", "--ratio", 0.9, "--format", "bitmask", "--force")
    assert {row["format"] for row in forced["passes"][2]["facts"]["tensors"]} == {"bitmask"}
    assert found["output"]["bytes"] <= forced["output"]["bytes"]


@pytest.mark.long
def test_rounds_of_single_weights_end_at_the_ratio(report):
    found = report(MLP, "--structure", "none", "--ratio", 0.8, "--rounds", 2, "--importance", "magnitude", *TRAINED)
    assert [options(found, index)["ratio"] for index in (1, 3)] == [0.7, 0.8]


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ((MLP,), 2, "how much to prune is said nowhere"),
        ((MLP, "--ratio", 0.5, "--keep", 0.5), 2, "said by --ratio, --keep"),
        ((MLP, "--ratio", 0.5, "--target-macs", 0.5), 2, "said by --ratio, --target-macs"),
        ((MLP, "--ratio", "half"), 2, "--ratio 'half' is neither a number nor auto"),
        ((MLP, "--keep", 1.5), 2, "--keep 1.5 is not between 0 and 1"),
        ((MLP, "--threshold", 0.1), 2, "--threshold needs --structure none"),
        ((MLP, "--nm", "2:4"), 2, "--nm needs --structure none"),
        ((MLP, "--ratio", 0.5, "--format", "csr"), 2, "--format needs --structure none"),
        ((MLP, "--ratio", 0.5, "--structure", "none", "--format", "zip"), 2, "'auto', 'dense', 'codebook'"),
        ((MLP, "--nm", "4:2", "--structure", "none"), 2, "give N:M"),
        ((MLP, "--target-macs", 0.5, "--structure", "none"), 2, "--target-macs does not go with --structure none"),
        ((MLP, "--ratio", 0.5, "--round-to", 4, "--structure", "none"), 2, "--round-to does not go with"),
        ((MLP, "--ratio", 0.5, "--structure", "none", "--structure", "head"), 2, "--structure none goes alone"),
        ((MLP, "--ratio", 0.5, "--structure", "filters"), 2, "filters"),
        ((MLP, "--ratio", 0.5, "--importance", "l3"), 2, "l3"),
        ((MLP, "--ratio", 0.5, "--epochs", 3), 2, "--epochs needs --finetune DATA"),
        ((MLP, "--ratio", 0.5, "--teacher-weight", 0.5), 2, "--teacher-weight needs --finetune DATA"),
        ((MLP, "--ratio", 0.5, "--rounds", 3), 2, "--rounds needs --finetune DATA"),
        ((MLP, "--target-macs", 0.5, "--rounds", 3, *TRAINED), 2, "--rounds needs --finetune DATA, and --ratio"),
        ((MLP, "--ratio", "auto", "--rounds", 3, *TRAINED), 2, "--rounds needs --finetune DATA, and --ratio"),
        ((MLP, "--ratio", 0.5, "--train", "digits", *TRAINED), 2, "--train and --finetune both"),
        ((MLP, "--ratio", 0.5, "--train", "digits"), 2, "--train: no pass of this run trains"),
        ((MLP, "--ratio", 0.5, "--structure", "block"), 3, "the depth cannot be cut"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(refused, arguments, code, message):
    refused(arguments, code, message)
