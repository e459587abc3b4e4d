"""The commands that train, end to end: what they write, and how they refuse."""

import json

import onnx
import onnx_ir as ir
import pytest
import torch

from compressctl.__main__ import run
from tests.quantization.reference import weight_integers
from tests.samples import SAMPLES

CNN, MLP, STUDENT = (SAMPLES / f"{name}.onnx" for name in ("cnn", "mlp", "cnn_student"))
DIGITS = ("--data", "digits", "--metric", "top1")


@pytest.fixture
def call(capsys, tmp_path):
    def _call(*arguments: object) -> tuple[int, str, str]:
        code = run([*map(str, arguments), "-o", str(tmp_path / "out.onnx")])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _call


def test_distill_writes_the_student_and_says_what_was_kept(call, tmp_path):
    code, stdout, _ = call("distill", CNN, "--student", STUDENT, *DIGITS, "--steps", 40, "--json")
    assert code == 0
    report = json.loads(stdout)
    facts = report["passes"][0]["facts"]
    assert facts["parameters"]["student"] * 10 < facts["parameters"]["teacher"]
    assert facts["losses"] == ["kl:weight=0.9", "cross-entropy:weight=0.1"]
    assert report["output"]["samples"] == 360  # every fifth of 1,797
    assert report["output"]["score"] is not None and report["input"]["score"]["value"] == 1.0
    written, student = (
        [node.op_type for node in onnx.load(path).graph.node] for path in (tmp_path / "out.onnx", STUDENT)
    )
    assert written == student
    assert not (tmp_path / "out.checkpoints").exists()


def test_qat_writes_the_integer_graph(call, tmp_path):
    code, stdout, _ = call("quantize", CNN, "--qat", "--scheme", "w2a8", *DIGITS, "--steps", 30, "--json")
    assert code == 0
    report = json.loads(stdout)
    assert [one["type"] for one in report["passes"]] == ["simplify", "qat"]
    assert report["passes"][1]["options"]["scheme"] == "w2a8"
    assert report["output"]["executed_ops"]["QLinearConv"] >= 7
    assert report["output"]["score"]["value"] > 0.9
    weights = weight_integers(ir.load(tmp_path / "out.onnx")).values()
    narrow = [array for array in weights if array.min() >= -2 and array.max() <= 1]
    assert len(narrow) >= 6


@pytest.mark.long
def test_the_same_command_gives_the_same_bytes(call, tmp_path):
    command = ("finetune", STUDENT, *DIGITS, "--steps", 30, "--learning-rate", 0.01, "--threads", 1)
    assert call(*command)[0] == 0
    first = (tmp_path / "out.onnx").read_bytes()
    assert call(*command, "--resume")[0] == 0  # nothing to resume: it starts from the beginning
    assert (tmp_path / "out.onnx").read_bytes() == first
    assert call(*command, "--seed", 1, "--force")[0] == 0
    assert (tmp_path / "out.onnx").read_bytes() != first


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (("quantize", MLP, "--train", "digits", "--calibrate", "digits"), 2, "--train: no pass of this run trains"),
        (("quantize", MLP, "--epochs", "3", "--calibrate", "digits"), 2, "--epochs needs --qat"),
        (("quantize", MLP, "--qat", "--keep-float", "3", *DIGITS), 2, "--keep-float does not go with --qat"),
        (("finetune", MLP, *DIGITS, "--loss", "kl:temprature=3"), 2, "temperature"),
        (("finetune", MLP, *DIGITS, "--freeze", "nothing*"), 2, "matches no weight"),
        (("finetune", MLP, "--train", "digits:train[:1]"), 3, "digits:train[:1]"),
        (("distill", CNN, "--student", SAMPLES / "transformer.onnx", *DIGITS), 3, "1x8x8"),
        (("distill", CNN, "--student", STUDENT, *DIGITS, "--feature", "/block9/Add"), 3, "/block9/Add"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, tmp_path, arguments, code, message):
    got, _, stderr = call(*arguments, "-q")
    assert got == code
    assert message in stderr and "Traceback" not in stderr
    assert not (tmp_path / "out.onnx").exists()


def test_a_loss_that_is_not_finite_keeps_the_best_and_says_where(call):
    code, stdout, _ = call("finetune", MLP, *DIGITS, "--learning-rate", "1e30", "--optimizer", "sgd", "--json")
    notes = json.loads(stdout)["passes"][0]["notes"]
    assert code == 0
    (stopped,) = [note["text"] for note in notes if "training stopped at step" in note["text"]]
    assert "nan" in stopped and "Gemm" in stopped


@pytest.mark.long
def test_adaround_takes_a_device(call):
    command = ("quantize", CNN, "--scheme", "w4a8", "--rounding", "adaround", "--adaround-steps", 2)
    samples = ("--calibrate", "digits:train[:32]")
    assert call(*command, *samples, "--device", "auto")[0] == 0
    if not torch.cuda.is_available():
        code, _, stderr = call(*command, *samples, "--device", "cuda", "--force")
        assert code == 2 and "device cuda: torch sees 0 GPUs" in stderr
