"""The verdict of whole runs: destroyed, not finite, nothing gained, and budgets on fidelity."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressctl.__main__ import run

SAMPLES = Path(__file__).parents[2] / "sample_models"


@pytest.fixture
def command(tmp_path, monkeypatch, capsys, quick):
    """Run a command on a model; return exit code, stdout and the report."""
    monkeypatch.chdir(tmp_path)

    def _run(name, model, *flags):
        code = run([name, str(model), "-o", "out.onnx", "-q", "--force", "--threads", "1", *flags])
        found = capsys.readouterr()
        path = tmp_path / "out.report.json"
        return code, found.out + found.err, json.loads(path.read_text()) if path.exists() else None

    return _run


def _named(graph_inputs, graph_outputs, nodes, **constants):
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", graph_inputs, graph_outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


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
    model = _named(
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("ReduceSum", ["r", "axes"], ["s"], keepdims=1),
            helper.make_node("Div", ["r", "s"], ["d"]),
            helper.make_node("Gemm", ["d", "v"], ["y"]),
        ],
        w=np.concatenate([large, small], axis=1).astype(np.float32),
        b=bias.astype(np.float32),
        v=rng.normal(size=(32, 8)).astype(np.float32),
        axes=np.array([1]),
    )
    onnx.save(model, tmp_path / "m.onnx")
    code, text, report = command("prune", tmp_path / "m.onnx", "--ratio", "0.5", "--importance", "l2")
    assert code == 0 and report["verdict"] == "degraded"
    assert "non-finite" in {found["what"] for found in report["below"]} and "NaN or infinite on zeros" in text


def test_outputs_are_judged_apart_and_embeddings_do_not_agree(command, tmp_path):
    rng = np.random.default_rng(0)
    model = _named(
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 32])],
        [
            helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["N", 16]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 32]),
            helper.make_tensor_value_info("nothing", TensorProto.FLOAT, ["N", 0]),
        ],
        [
            helper.make_node("Gemm", ["x", "w"], ["classes"]),
            helper.make_node("MatMul", ["x", "v"], ["embedding"], name="emb"),
            helper.make_node("Slice", ["x", "zero", "zero", "one"], ["nothing"]),
        ],
        w=rng.normal(size=(32, 16)).astype(np.float32),
        v=rng.normal(size=(32, 32)).astype(np.float32),
        zero=np.array([0]),
        one=np.array([1]),
    )
    onnx.save(model, tmp_path / "m.onnx")
    flags = ("--scheme", "int1", "--first-last", "same", "--include", "emb")
    _, text, report = command("quantize", tmp_path / "m.onnx", *flags)
    assert report is not None, text
    assert report["verdict"] == "degraded" and [found["output"] for found in report["below"]] == ["embedding"]
    rows = {line.split()[2]: line for line in text.splitlines() if line.strip().startswith("fidelity of")}
    assert "agrees 100" in rows["classes"] and "agrees" not in rows["embedding"] and "BELOW" in rows["embedding"]
    assert "no values" in rows["nothing"] and "equal" not in rows["nothing"] and "SQNR" not in rows["nothing"]


def test_agreement_where_no_output_is_scores_is_a_usage_error(command, tmp_path):
    model = _named(
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 4])],
        [helper.make_node("MatMul", ["x", "w"], ["embedding"])],
        w=np.eye(4, dtype=np.float32),
    )
    onnx.save(model, tmp_path / "m.onnx")
    code, text, _ = command("quantize", tmp_path / "m.onnx", "--min-agreement", "0.9")
    assert code == 2 and "no output of the model is scores of classes" in text and "min_sqnr" in text


def test_nothing_gained(command, tmp_path):
    command("quantize", SAMPLES / "transformer.onnx", "--scheme", "int8-dynamic")
    quantized = tmp_path / "quantized.onnx"
    (tmp_path / "out.onnx").rename(quantized)
    code, text, report = command("quantize", quantized, "--scheme", "int8-dynamic")
    assert code == 0 and report["verdict"] in ("no gain", "regression") and "nothing was gained" in text


def test_what_is_up_to_date_prints_why_it_is_not_ok(tmp_path, monkeypatch, capsys, quick):
    monkeypatch.chdir(tmp_path)
    recipe = {
        "model": str(SAMPLES / "mlp.onnx"),
        "output": "out.onnx",
        "passes": [{"type": "simplify"}],
        "max_size": 10,
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    assert run(["pipeline", "r.yaml", "-q"]) == 4
    capsys.readouterr()
    assert run(["pipeline", "r.yaml", "-q"]) == 4
    told = capsys.readouterr().out
    assert "max_size: at most 10 was asked for" in told and "out.onnx: up to date: budget missed" in told
