"""The commands that train, end to end: what they write, and how they refuse."""

import onnx
import onnx_ir as ir
import pytest
import torch

from tests.quantization.reference import weight_integers
from tests.samples import CNN, MLP, STUDENT

DIGITS = ("--data", "digits", "--metric", "top1")


def test_distill_writes_the_student_and_says_what_was_kept(report, tmp_path):
    found = report("distill", CNN, "-o", tmp_path / "out.onnx", "--student", STUDENT, *DIGITS, "--steps", 40)
    facts = found["passes"][0]["facts"]
    assert facts["parameters"]["student"] * 10 < facts["parameters"]["teacher"]
    assert facts["losses"] == ["kl:weight=0.9", "cross-entropy:weight=0.1"]
    assert found["output"]["samples"] == 360  # every fifth of 1,797
    assert found["output"]["score"] is not None and found["input"]["score"]["value"] == 1.0
    written, student = (
        [node.op_type for node in onnx.load(path).graph.node] for path in (tmp_path / "out.onnx", STUDENT)
    )
    assert written == student
    assert not (tmp_path / "out.checkpoints").exists()


def test_qat_writes_the_integer_graph(report, tmp_path):
    options = ("--qat", "--scheme", "w2a8", *DIGITS, "--steps", 30)
    found = report("quantize", CNN, "-o", tmp_path / "out.onnx", *options)
    assert [one["type"] for one in found["passes"]] == ["simplify", "qat"]
    assert found["passes"][1]["options"]["scheme"] == "w2a8"
    assert found["output"]["executed_ops"]["QLinearConv"] >= 7
    assert found["output"]["score"]["value"] > 0.9
    weights = weight_integers(ir.load(tmp_path / "out.onnx")).values()
    narrow = [array for array in weights if array.min() >= -2 and array.max() <= 1]
    assert len(narrow) >= 6


@pytest.mark.long
def test_the_same_command_gives_the_same_bytes(call, tmp_path):
    out = tmp_path / "out.onnx"
    command = ("finetune", STUDENT, "-o", out, *DIGITS, "--steps", 30, "--learning-rate", 0.01, "--threads", 1)
    assert call(*command)[0] == 0
    first = out.read_bytes()
    assert call(*command, "--resume")[0] == 0  # nothing to resume: it starts from the beginning
    assert out.read_bytes() == first
    assert call(*command, "--seed", 1, "--force")[0] == 0
    assert out.read_bytes() != first


def test_a_loss_that_is_not_finite_keeps_the_best_and_says_where(report, tmp_path):
    options = ("-o", tmp_path / "out.onnx", *DIGITS, "--learning-rate", "1e30", "--optimizer", "sgd")
    notes = report("finetune", MLP, *options)["passes"][0]["notes"]
    (stopped,) = [note["text"] for note in notes if "training stopped at step" in note["text"]]
    assert "nan" in stopped and "Gemm" in stopped


@pytest.mark.long
def test_adaround_takes_a_device(call, tmp_path):
    command = ("quantize", CNN, "-o", tmp_path / "out.onnx", "--scheme", "w4a8", "--rounding", "adaround")
    samples = ("--adaround-steps", 2, "--calibrate", "digits:train[:32]")
    assert call(*command, *samples, "--device", "auto")[0] == 0
    if not torch.cuda.is_available():
        code, _, stderr = call(*command, *samples, "--device", "cuda", "--force")
        assert code == 2 and "device cuda: torch sees 0 GPUs" in stderr
