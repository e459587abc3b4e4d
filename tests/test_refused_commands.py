"""Commands that cannot work end with one line, and write nothing."""

import pytest

from tests.samples import CNN, MLP, SAMPLES, STUDENT

DIGITS = ("--data", "digits", "--metric", "top1")
TRAINED = ("--finetune", "digits:train[:256]", "--steps", 4)
REFUSED = {
    "cluster": [
        ((MLP, "--scope", "channel"), 2, "channel"),
        ((MLP, "--importance", "taylor"), 2, "taylor"),
        ((MLP, "--include", "nothing*"), 2, "include 'nothing*' matches no node"),
        ((MLP, "--epochs", 3), 2, "--epochs needs --finetune DATA"),
        ((MLP, "--teacher-weight", 0.5), 2, "--teacher-weight needs --finetune DATA"),
        ((MLP, "--train", "digits", *TRAINED), 2, "--train and --finetune both"),
        ((MLP, "--train", "digits"), 2, "--train: no pass of this run trains"),
    ],
    "prune": [
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
    "quantize": [
        ((MLP, "--scheme", "int4", "--rounding", "gptq"), 2, "rounding gptq needs calibration samples"),
        ((MLP, "--scheme", "int4", "--rounding", "awq"), 2, "rounding awq needs calibration samples"),
        ((MLP, "--scheme", "int4", "--percentile", 99), 2, "--percentile does not go with --scheme int4"),
        ((MLP, "--scheme", "int4", "--qat"), 2, "--qat trains integer kernels, which --scheme int4 does not use"),
        ((MLP, "--scheme", "w4a8", "--group-size", 32), 2, "--group-size needs a --scheme of weights alone: fp16"),
        ((MLP, "--target-rows", 1), 2, "--target-rows needs a --scheme of weights alone"),
        ((MLP, "--scheme", "int4", "--epochs", 1), 2, "--epochs needs --qat"),
        ((MLP, "--scheme", "fp16", "--rounding", "hqq"), 2, "so rounding does not go with it"),
        ((MLP, "--scheme", "int1", "--rounding", "hqq"), 2, "hqq finds offsets"),
        ((MLP, "--scheme", "int1", "--asymmetric"), 2, "scheme int1 is symmetric"),
        ((MLP, "--scheme", "int4", "--group-size", 48), 2, "power of two"),
        ((MLP, "--scheme", "int4", "--group-size", "row"), 2, "--group-size: give a power of two"),
        ((MLP, "--scheme", "int2", "--target-rows", 1), 2, "target_rows needs scheme int4"),
        ((MLP, "--scheme", "int4", "--target-rows", 1, "--asymmetric"), 2, "symmetric cannot be false"),
        ((MLP, "--scheme", "int4", "--rounding", "gptq", "--group-size", "tensor"), 2, "not tensor"),
        ((MLP, "--scheme", "int4", "--rounding", "adaround"), 2, "rounding"),
        ((MLP, "--scheme", "int5"), 2, "scheme"),
        ((MLP, "--scheme", "int4", "--include", "nothing*"), 2, "'nothing*' matches no node"),
        ((MLP, "--train", "digits", "--calibrate", "digits"), 2, "--train: no pass of this run trains"),
        ((MLP, "--epochs", "3", "--calibrate", "digits"), 2, "--epochs needs --qat"),
        ((MLP, "--qat", "--keep-float", "3", *DIGITS), 2, "--keep-float does not go with --qat"),
    ],
    "finetune": [
        ((MLP, *DIGITS, "--loss", "kl:temprature=3"), 2, "temperature"),
        ((MLP, *DIGITS, "--freeze", "nothing*"), 2, "matches no weight"),
        ((MLP, "--train", "digits:train[:1]"), 3, "digits:train[:1]"),
    ],
    "distill": [
        ((CNN, "--student", SAMPLES / "transformer.onnx", *DIGITS), 3, "1x8x8"),
        ((CNN, "--student", STUDENT, *DIGITS, "--feature", "/block9/Add"), 3, "/block9/Add"),
    ],
}


@pytest.mark.parametrize(
    ("command", "arguments", "code", "message"), [(command, *row) for command, rows in REFUSED.items() for row in rows]
)
def test_what_cannot_be_is_refused_in_one_line(call, tmp_path, command, arguments, code, message):
    got, stdout, stderr = call(command, *arguments, "-o", tmp_path / "out.onnx", "-q")
    assert got == code and message in stderr and "Traceback" not in stderr and not stdout, stderr
    assert not (tmp_path / "out.onnx").exists()
