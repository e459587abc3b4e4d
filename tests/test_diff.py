"""`compressctl diff`: two reports and two models side by side."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compressctl.__main__ import run
from compressctl.report.as_json import to_json
from tests.report.full_report import full_report, measurement
from tests.samples import CNN, MLP, SAMPLES


@pytest.fixture
def diff(call):
    def _diff(*arguments, code=0):
        got, stdout, stderr = call("diff", *arguments, "-q")
        assert got == code, stderr
        return stderr if code else json.loads(stdout) if "--json" in arguments else stdout

    return _diff


@pytest.fixture
def reports(tmp_path):
    """Two runs: the second is smaller, has another ratio, one pass more, and ran on another machine."""
    first = full_report()
    second = replace(
        first,
        verdict="ok",
        output=measurement("b.onnx", 100_000, 0.5, 0.93, 0.02),
        budgets=tuple(replace(verdict, met=True) for verdict in first.budgets),
        passes=(*first.passes[:3], replace(first.passes[3], type="store", rolled_back=None)),
        machine=replace(first.machine, cpu="Another"),
        recipe={"model": "in.onnx", "passes": [{"type": "prune", "ratio": 0.5}, {"type": "store"}], "strict": True},
        versions={**first.versions, "numpy": "2.5.0"},
    )
    first = replace(first, recipe={"model": "in.onnx", "passes": [{"type": "prune", "ratio": 0.3}], "seed": None})
    paths = [tmp_path / "a.report.json", tmp_path / "b.report.json"]
    for path, report in zip(paths, (first, second), strict=True):
        path.write_text(to_json(report))
    return paths


def _figures(section):
    return {figure["name"]: (figure["a"], figure["b"]) for figure in section}


def test_reports_as_json(diff, reports):
    found = diff(*reports, "--json")
    result = _figures(found["result"])
    assert result["verdict"] == ("budget missed", "ok") and result["size"] == (200_000, 100_000)
    assert result["drop"][1] == pytest.approx({"value": 0.02, "low": 0.014, "high": 0.026})
    assert [round(side["value"], 2) for side in result["latency ratio"]] == [0.62, 0.5]
    assert _figures(found["options"]) == {
        "strict": (None, "true"),
        "passes": ("prune", "prune, store"),
        "prune.ratio": ("0.3", "0.5"),
        "store": (None, '{"type": "store"}'),
    }
    assert _figures(found["surroundings"]) == {
        "machine: cpu": ("A processor", "Another"),
        "numpy": ("2.4.6", "2.5.0"),
    }
    assert "max_size" in _figures(found["budgets"]) and found["layers"] == []
    passes = _figures(found["passes"])
    assert passes["prune: size"] == (600_000, 600_000) and passes["store: size"] == (None, 210_000)
    assert [note["kind"] for note in found["notes"]] == ["warning"] and "machines" in found["notes"][0]["text"]


def test_reports_as_tables(diff, reports):
    text = diff(*reports)
    for words in ("x 0.500", "-1.00 points", "prune.ratio", "max_size", "different machines", "store: size"):
        assert words in text


def test_figures_of_other_metrics_are_not_set_against_each_other(diff, reports):
    path = reports[1]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metric": "psnr"}))
    found = diff(*reports, "--json")
    assert found["metric"] is None and "metric" not in _figures(found["result"])
    assert any("metrics differ" in note["text"] for note in found["notes"])


def test_layers_that_both_explain(diff, reports):
    content = json.loads(reports[1].read_text())
    content["explanation"]["layers"][1]["after"]["bytes"] = 5
    reports[1].write_text(json.dumps(content))
    (figure,) = diff(*reports, "--json")["layers"]
    assert figure["name"].endswith("/Conv: bytes") and (figure["a"], figure["b"]) == (10_000, 5)


def test_a_changed_weight_is_named_with_its_error(diff, tmp_path):
    model = onnx.load(MLP)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "hidden.weight")
    before = numpy_helper.to_array(weight)
    after = before + np.random.default_rng(0).normal(scale=1e-3, size=before.shape).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(after, weight.name))
    changed = tmp_path / "changed.onnx"
    onnx.save(model, changed)
    found = diff(MLP, changed, "--json")
    expected = 10 * np.log10(np.sum(before.astype(float) ** 2) / np.sum((before.astype(float) - after) ** 2))
    (tensor,) = found["tensors"]
    assert (tensor["name"], tensor["kind"]) == ("hidden.weight", "changed")
    assert tensor["a"] == {"dtype": "float", "shape": [128, 64], "bytes": 128 * 64 * 4} == tensor["b"]
    assert tensor["sqnr_db"] == pytest.approx(expected, abs=1e-6)
    (layer,) = found["layers"]
    assert layer["op"] == "Gemm" and layer["sqnr_db"] == pytest.approx(expected, abs=1e-6)
    assert found["operators"] == {} and found["same_tensors"] == len(model.graph.initializer) - 1


def test_a_model_against_itself_differs_in_nothing(diff):
    found = diff(CNN, CNN, "--json")
    assert (found["operators"], found["tensors"], found["layers"]) == ({}, [], []) and found["a"] == found["b"]
    assert "Operators" not in diff(CNN, CNN)


def test_a_quantized_and_packed_model_against_its_original(diff, tmp_path, capsys):
    small = tmp_path / "small.ccz"
    scheme = ("--scheme", "int8", "--calibrate", "digits:train[:32]")
    assert run(["quantize", str(MLP), "-o", str(small), *scheme, "-q"]) == 0
    capsys.readouterr()
    found = diff(MLP, small, "--json")
    assert found["b"]["bytes"] == small.stat().st_size and found["a"]["bytes"] == MLP.stat().st_size
    assert found["operators"]["QuantizeLinear"][0] == 0 < found["operators"]["QuantizeLinear"][1]
    (weight,) = (row for row in found["tensors"] if row["name"] == "hidden.weight")
    assert weight["kind"] == "removed" and weight["b"] is None
    # Rounding to 127 steps: noise of a twelfth of a squared step, of weights that are spread over all of them.
    errors = {layer["name"]: layer["sqnr_db"] for layer in found["layers"]}
    assert len(errors) == 2 and all(35 < error < 50 for error in errors.values())
    text = diff(MLP, small, "-v")
    assert "QuantizeLinear" in text and "hidden.weight" in text and "Layers with other weights" in text


def test_models_are_measured_where_samples_are_given(diff, monkeypatch):
    monkeypatch.setattr("compressctl.cli.diff._SECONDS", 0.1)
    found = diff(MLP, MLP, "--data", "digits:test[:64]", "--metric", "top1", "--json")
    first, second = found["measured"]["models"]
    assert first["score"] == second["score"] and second["drop"]["drop"] == 0 and second["size_ratio"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a.report.json", MLP], 2, "one is a report"),
        (["a.report.json", "b.report.json", "--data", "digits:test"], 2, "--data"),
        ([MLP, CNN, "--metric", "top1"], 2, "--data D"),
        ([MLP, "none.onnx"], 3, "none.onnx does not exist"),
        (["a.report.json", "none.json"], 3, "none.json cannot be read"),
        ([SAMPLES / "cnn_scripted.pt", CNN], 2, "--input"),
    ],
)
def test_bad_input_is_one_line(diff, reports, monkeypatch, arguments, code, words):
    monkeypatch.chdir(reports[0].parent)
    error = diff(*arguments, code=code)
    assert words in error and error.startswith("error: ") and len(error.splitlines()) <= 2
