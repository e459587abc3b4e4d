"""The verdict of whole runs: destroyed, not finite, nothing gained, and budgets on fidelity."""

import numpy as np
import onnx_ir as ir

from tests import graphs
from tests.samples import SAMPLES


def test_a_destroyed_model_is_degraded_without_labels(command, tmp_path):
    code, text, report = command("prune", SAMPLES / "mlp.onnx", "--ratio", "0.7")
    assert code == 0 and report["verdict"] == "degraded"
    assert {found["output"] for found in report["below"]} == {"logits"} and report["floor"]["sqnr_db"] == 10
    assert "below the fidelity floor: logits has an SQNR of" in text and "--calibrate" in text
    assert text.rstrip().endswith("out.onnx: degraded")
    for suffix in ("md", "html"):
        assert "below the fidelity floor" in (tmp_path / f"out.report.{suffix}").read_text()


def test_a_careful_one_is_ok(command):
    _, _, report = command("quantize", SAMPLES / "mlp.onnx", "--scheme", "fp16", "--on-regression", "keep")
    assert report["verdict"] in ("ok", "regression") and report["below"] == []


def test_budgets_on_fidelity_need_no_labels(command):
    flags = ("--scheme", "ternary", "--min-sqnr", "60", "--min-agreement", "1")
    code, text, report = command("quantize", SAMPLES / "mlp.onnx", *flags)
    assert code == 4 and report["verdict"] == "budget missed"
    assert [verdict["budget"] for verdict in report["budgets"]] == ["min_sqnr", "min_agreement"]
    assert "min_sqnr: at least 60 was asked for" in text
    code, text, _ = command("quantize", SAMPLES / "mlp.onnx", "--scheme", "fp16", "--min-sqnr", "30", "--strict")
    assert code == 0


def test_nan_out_of_a_result_is_never_ok(command, tmp_path):
    """Features of small weights keep the divisor positive; cutting them leaves sums that are 0."""
    rng = np.random.default_rng(0)
    large, small = 3 * rng.normal(size=(6, 16)), 0.01 * rng.normal(size=(6, 16))
    bias = np.concatenate([-4 * np.ones(16), np.ones(16)])
    arrays = {"w": np.concatenate([large, small], axis=1), "b": bias, "v": rng.normal(size=(32, 8))}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()} | {"axes": np.array([1])}
    body = "h = Gemm(x, w, b) r = Relu(h) s = ReduceSum(r, axes) d = Div(r, s) y = Gemm(d, v)"
    ir.save(graphs.model(body, arrays, "float[N, 6] x", "float[N, 8] y"), tmp_path / "m.onnx")
    code, text, report = command("prune", tmp_path / "m.onnx", "--ratio", "0.5", "--importance", "l2")
    assert code == 0 and report["verdict"] == "degraded"
    assert "non-finite" in {found["what"] for found in report["below"]} and "NaN or infinite on zeros" in text


def test_outputs_are_judged_apart_and_embeddings_do_not_agree(command, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(32, size)).astype(np.float32) for name, size in (("w", 16), ("v", 32))}
    arrays |= {"zero": np.array([0]), "one": np.array([1])}
    body = "classes = Gemm(x, w) [emb] embedding = MatMul(x, v) nothing = Slice(x, zero, zero, one)"
    outputs = "float[N, 16] classes, float[N, 32] embedding, float[N, 0] nothing"
    ir.save(graphs.model(body, arrays, "float[N, 32] x", outputs), tmp_path / "m.onnx")
    flags = ("--scheme", "int1", "--first-last", "same", "--include", "emb")
    _, text, report = command("quantize", tmp_path / "m.onnx", *flags)
    assert report is not None, text
    assert report["verdict"] == "degraded" and [found["output"] for found in report["below"]] == ["embedding"]
    rows = {line.split()[2]: line for line in text.splitlines() if line.strip().startswith("fidelity of")}
    assert "agrees 100" in rows["classes"] and "agrees" not in rows["embedding"] and "BELOW" in rows["embedding"]
    assert "no values" in rows["nothing"] and "equal" not in rows["nothing"] and "SQNR" not in rows["nothing"]


def test_agreement_where_no_output_is_scores_is_a_usage_error(command, tmp_path):
    weight = {"w": np.eye(4, dtype=np.float32)}
    ir.save(
        graphs.model("embedding = MatMul(x, w)", weight, "float[N, 4] x", "float[N, 4] embedding"), tmp_path / "m.onnx"
    )
    code, text, _ = command("quantize", tmp_path / "m.onnx", "--min-agreement", "0.9")
    assert code == 2 and "no output of the model is scores of classes" in text and "min_sqnr" in text


def test_nothing_gained(command, tmp_path):
    command("quantize", SAMPLES / "transformer.onnx", "--scheme", "int8-dynamic")
    quantized = tmp_path / "quantized.onnx"
    (tmp_path / "out.onnx").rename(quantized)
    code, text, report = command("quantize", quantized, "--scheme", "int8-dynamic")
    assert code == 0 and report["verdict"] in ("no gain", "regression") and "nothing was gained" in text
