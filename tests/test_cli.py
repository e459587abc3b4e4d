"""The command line end to end: exit codes, what goes to stdout and stderr, what is written and what is left alone."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.graphs import operators, parse
from tests.samples import CNN, LSTM, MLP, ROOT, SAMPLES, TRANSFORMER

CALIBRATE = ("--calibrate", "digits:train[:64]")
INT8 = ("--scheme", "int8", *CALIBRATE)  # scheme auto times layers, which most tests need not wait for
TOP1 = ("--data", "digits:test", "--metric", "top1")


def report(path: Path) -> dict:
    return json.loads(path.with_suffix(".report.json").read_text())


def test_quantize_writes_model_and_reports(call, tmp_path):
    out = tmp_path / "out.onnx"
    code, stdout, stderr = call("quantize", CNN, "-o", out, *INT8, *TOP1)
    assert code == 0
    assert "size" in stdout and "top1" in stdout and "compressctl: quantize" in stderr
    content = report(out)
    assert content["schema_version"] == "1.4"
    assert content["output"]["bytes"] == out.stat().st_size
    assert content["output_sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert content["input"]["score"]["value"] - content["output"]["score"]["value"] < 0.01
    assert content["output"]["executed_ops"]["QLinearConv"] > 0 and "Conv" not in content["output"]["executed_ops"]
    assert out.with_suffix(".report.md").read_text().startswith("# ")


def test_json_is_one_document_and_quiet_leaves_stderr_empty(call, tmp_path):
    code, stdout, stderr = call("quantize", MLP, "-o", tmp_path / "o.onnx", "--json", "-q")
    assert code == 0 and json.loads(stdout)["output"]["path"].endswith("o.onnx") and stderr == ""


def test_dynamic_scheme_needs_no_data(call, tmp_path):
    out = tmp_path / "o.onnx"
    assert call("quantize", TRANSFORMER, "-o", out, "--scheme", "int8-dynamic")[0] == 0
    assert "MatMulInteger" in operators(out) and "QuantizeLinear" not in operators(out)


@pytest.mark.long
def test_lstm_in_auto(call, tmp_path):
    out = tmp_path / "o.onnx"
    assert call("quantize", LSTM, "-o", out, *TOP1)[0] == 0
    assert report(out)["output"]["size_ratio"] < 0.5  # on integers, or in float on 8-bit weights: what is faster here
    assert call("quantize", LSTM, "-o", out, *TOP1, "--scheme", "int8-dynamic", "--force")[0] == 0
    assert "DynamicQuantizeLSTM" in operators(out)


def test_static_without_data_names_the_flag(call, tmp_path):
    code, _, stderr = call("quantize", CNN, "-o", tmp_path / "o.onnx", "--scheme", "int8")
    assert code == 2 and "--calibrate" in stderr and not list(tmp_path.iterdir())


def test_auto_without_data_says_what_it_left(call, tmp_path):
    code, stdout, _ = call("quantize", CNN, "-o", tmp_path / "o.onnx")
    assert code == 0 and "convolutions compute in float" in stdout and "--calibrate" in stdout


def test_random_calibration_is_legal_and_loud(call, tmp_path):
    code, stdout, _ = call("quantize", CNN, "-o", tmp_path / "o.onnx", "--scheme", "int8", "--calibrate", "random:8")
    assert code == 0 and "RANDOM" in stdout


def test_budget_missed_is_exit_4_with_the_output_written(call, tmp_path):
    out = tmp_path / "o.onnx"
    code, stdout, _ = call("quantize", CNN, "-o", out, *INT8, "--size-ratio", "0.01")
    assert code == 4 and out.exists() and "MISSED" in stdout
    (verdict,) = report(out)["budgets"]
    ratio = report(out)["output"]["size_ratio"]
    assert (verdict["budget"], verdict["limit"], verdict["value"], verdict["met"]) == ("size_ratio", 0.01, ratio, False)
    assert (verdict["low"], verdict["high"]) == (ratio, ratio)  # bytes are exact
    assert verdict["reason"] == f"size_ratio: at most 0.01 was asked for, {ratio:.4g} measured"


def test_keep_float_keeps_the_worst_layers_and_prints_the_lines_that_pin_them(call, tmp_path):
    out = tmp_path / "o.onnx"
    code, stdout, _ = call("quantize", CNN, "-o", out, *CALIBRATE, "--keep-float", 2, "--scheme", "int8")
    facts = report(out)["passes"][-1]["facts"]
    worst = [row["layer"] for row in facts["layer_sensitivity"][:2]]
    assert code == 0 and len(worst) == 2
    assert all(name in stdout for name in worst) and "exclude:" in stdout
    executed = report(out)["output"]["executed_ops"]
    assert sum(count for op, count in executed.items() if op.split("[")[0] in ("Conv", "FusedConv", "Gemm")) == 2


def test_keep_float_0_quantizes_all_layers_whatever_the_budget(call, tmp_path):
    out = tmp_path / "o.onnx"
    arguments = ("-o", out, "--scheme", "w1a8", "--first-last", "same", "--max-accuracy-drop", 0, "--force")
    ranked = []
    for extra in ((), ("--keep-float", 0)):
        call("quantize", MLP, *CALIBRATE, *TOP1, *arguments, *extra)
        ranked.append(report(out)["passes"][-1]["facts"]["layer_sensitivity"])
    assert ranked[0] and not ranked[1]


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_calibration_methods_keep_the_accuracy(call, tmp_path, method):
    out = tmp_path / "o.onnx"
    assert call("quantize", CNN, "-o", out, *INT8, *TOP1, "--calibration-method", method)[0] == 0
    assert report(out)["output"]["drop"]["drop"] < 0.02


@pytest.mark.parametrize("extra", [("--equalize",), ("--per-tensor",), ("--no-bias-correction",), ("--reduced-range",)])
def test_options_keep_the_accuracy(call, tmp_path, extra):
    out = tmp_path / "o.onnx"
    assert call("quantize", CNN, "-o", out, *INT8, *TOP1, *extra)[0] == 0
    assert report(out)["output"]["drop"]["drop"] < 0.03


def test_smooth_quant_needs_calibration(call, tmp_path):
    arguments = ("quantize", TRANSFORMER, "-o", tmp_path / "o.onnx", "--smooth-quant", 0.5)
    code, _, stderr = call(*arguments)
    assert code == 2 and "--calibrate" in stderr
    assert call(*arguments, *INT8, *TOP1)[0] == 0


def test_torchscript(call, tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "o.onnx"
    model = SAMPLES / "cnn_scripted.pt"
    code, _, stderr = call("quantize", model, "-o", out, *INT8, *TOP1, "--input", "input:1x1x8x8")
    assert code == 0, stderr
    assert report(out)["output"]["drop"]["drop"] < 0.02
    code, _, stderr = call("quantize", model, "-o", tmp_path / "p.onnx", *CALIBRATE)
    assert code == 2 and "--input" in stderr


def test_bench_one_and_many(call, tmp_path):
    code, stdout, _ = call("bench", MLP, "--seconds", "0.5")
    assert code == 0 and "Gemm" in stdout
    report_path = tmp_path / "bench.json"
    code, stdout, _ = call("bench", MLP, CNN, *TOP1, "--json", "--seconds", "0.5", "--report", report_path, "--profile")
    content = json.loads(stdout)
    assert code == 0 and content == json.loads(report_path.read_text())
    assert content["models"][1]["latency_ratio"]["value"] > 1
    assert content["models"][0]["macs"] == 64 * 128 + 128 * 10
    assert content["models"][1]["profile"]["by_op"]


def test_inspect(call):
    code, stdout, _ = call("inspect", CNN)
    assert code == 0 and "Conv" in stdout and "static" in stdout and "BatchNormalization" in stdout
    found = json.loads(call("inspect", CNN, "--json")[1])
    assert found["layers"]
    told = {note["node"]: note["text"] for note in found["passes"]["prune"]}
    assert told["/block2/conv1/Conv"] == "cut some of 32 channels (--structure channel)"
    assert told["/classifier/Gemm"].endswith("'logits' is an output of the model")


def test_schema(call):
    assert "passes" in json.loads(call("schema")[1])["properties"]
    assert json.loads(call("schema", "--report")[1])["title"] == "Report"


def test_existing_output_is_kept(call, tmp_path):
    out = tmp_path / "o.onnx"
    out.write_text("mine")
    code, _, stderr = call("quantize", MLP, "-o", out)
    assert code == 2 and "--force" in stderr and out.read_text() == "mine"
    assert call("quantize", MLP, "-o", out, "--force")[0] == 0
    assert call("quantize", MLP, "-o", out)[0] == 0  # our own earlier output of the same recipe
    assert call("quantize", MLP, "-o", out, "--seed", 3)[0] == 2


CUSTOM = '<ir_version: 8, opset_import: ["" : 17, "my.ops": 1]> g (float[N] x) => (float[N] y) { y = my.ops.Magic(x) }'


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: None, "bad.onnx"),
        (lambda path: path.write_bytes(b""), "bad.onnx"),
        (lambda path: path.write_bytes(bytes(100)), "bad.onnx"),
        (lambda path: path.write_bytes(CNN.read_bytes()[:5000]), "bad.onnx"),
        (lambda path: path.mkdir(), "bad.onnx"),
        (lambda path: onnx.save(parse(CUSTOM), path), "Magic"),
    ],
)
@pytest.mark.parametrize("command", ["quantize", "bench", "inspect", "init"])
def test_unusable_models(call, tmp_path, make, word, command):
    bad = tmp_path / "bad.onnx"
    make(bad)
    output = ("-o", tmp_path / "o.onnx") if command in ("quantize", "init") else ()
    code, stdout, stderr = call(command, bad, *output)
    assert code == 3 and word in stderr and "Traceback" not in stderr
    assert len([line for line in stderr.splitlines() if line.startswith("error: ")]) == 1
    assert stdout == "" and not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("quantize", CNN, *INT8),
        ("prune", MLP, "--target-macs", 0.6, *CALIBRATE),
        ("prune", MLP, "--structure", "none", "--ratio", 0.7, *CALIBRATE),
        ("cluster", MLP, *CALIBRATE),
    ],
    ids=lambda command: command[0],
)
def test_the_same_command_gives_the_same_bytes(call, tmp_path, command):
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        assert call(*command, "-o", path, "--threads", 1, "-q")[0] == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: np.savez(path, other=np.zeros((4, 1, 8, 7), np.float32)), "input"),
        (lambda path: path.write_bytes(b"PK\x03\x04 broken"), "d.npz"),
    ],
)
def test_unusable_data(call, tmp_path, make, word):
    make(tmp_path / "d.npz")
    code, _, stderr = call("quantize", CNN, "-o", tmp_path / "o.onnx", "--calibrate", tmp_path / "d.npz")
    assert code == 3 and word.lower() in stderr.lower() and not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("quantize",),
        ("quantise", "m.onnx"),
        ("quantize", MLP, "-o", "o.onnx", "--scheme", "int9"),
        ("quantize", MLP, "-o", "o.onnx", "--threads", "-1"),
        ("quantize", MLP, "-o", "o.onnx", "--exclude-op", "nothing*"),
        ("quantize", MLP, "-o", "no/such/folder/o.onnx"),
        ("quantize", MLP, "-o", "o.txt"),
        ("quantize", MLP, "-o", MLP),
        ("quantize", MLP, "-o", MLP, "--force"),
        ("bench", MLP, "--metric", "top1"),
        ("bench", MLP, *TOP1[:2], "--metric", "top9"),
        ("pipeline", "no.yaml"),
    ],
)
def test_wrong_usage_is_exit_2(call, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, _, stderr = call(*arguments)
    assert code == 2 and "error: " in stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lines", "settings"),
    [
        ("allow_python: true", ()),
        ("allow_python: ${yes}\nvars: {yes: true}", ()),
        ("allow_python: ${yes}\nvars: {yes: true}\nsweep: {yes: [true]}", ()),
        ("<<: {allow_python: true}", ()),
        ("", ("--set", "allow_python=true")),
    ],
)
def test_a_recipe_cannot_give_itself_leave_to_run_python(call, tmp_path, monkeypatch, lines, settings):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_code.py").write_text("open('ran', 'w').close()\ndef load(): return []\n")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"model: {CNN}\noutput: o.onnx\ndata: 'python:own_code:load'\nmetric: top1\npasses: [type: simplify]\n{lines}\n"
    )
    code, _, stderr = call("pipeline", recipe, *settings)
    assert code == 2 and "allow_python" in stderr and "add --allow-python" in stderr
    assert not (tmp_path / "ran").exists()


def test_leave_given_on_the_command_line_is_not_passed_on_by_reports(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    code = "import numpy as np\ndef load():\n    yield {'input': np.ones((4, 1, 8, 8), np.float32)}\n"
    (tmp_path / "given_leave.py").write_text(code)
    (tmp_path / "r.yaml").write_text(
        f"model: {CNN}\noutput: o.onnx\ncalibrate: 'python:given_leave:load'\npasses: [type: simplify]\n"
    )
    assert call("pipeline", "r.yaml")[0] == 2
    assert call("pipeline", "r.yaml", "--allow-python")[0] == 0
    assert "allow_python" not in json.loads((tmp_path / "o.report.json").read_text())["recipe"]
    assert b"allow_python" not in (tmp_path / "o.onnx").read_bytes()


def test_onnxruntime_keeps_to_itself(tmp_path):
    """Its telemetry would write a device id and a database under the user's home, and warn where it cannot."""
    home = tmp_path / "home"
    home.mkdir()
    inner = [sys.executable, "-m", "compressctl"]
    for number, place in enumerate([str(home), "/nonexistent"]):
        variables = {**os.environ, "HOME": place, "ORT_DISABLE_TELEMETRY": "0"}
        variables.pop("XDG_CACHE_HOME", None)
        output = tmp_path / f"{number}.onnx"
        done = subprocess.run(  # simplifying also opens the result in a worker process
            [*inner, "simplify", str(MLP), "-o", str(output), "-q", "--threads", "1"],
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
    assert not list(home.rglob("*"))


def test_help_is_cheap():
    """What `--help` imports is what it costs."""
    heavy = ("numpy", "onnx", "onnx_ir", "onnxruntime", "rich.console")
    options = ("pydantic", "compressctl.passes", "compressctl.recipe")  # of no command in particular
    for arguments, names in ((["--help"], heavy + options), (["quantize", "--help-all"], heavy)):
        code = "import sys; from compressctl.__main__ import run; "
        code += f"run({arguments}); print([name for name in {names} if name in sys.modules])"
        result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert result.stdout.splitlines()[-1] == "[]"


def test_a_report_that_cannot_be_written_is_refused_before_the_work(call, tmp_path):
    out = tmp_path / "out.onnx"
    code, _, stderr = call("simplify", MLP, "-o", out, "--report", tmp_path / "missing" / "r.json", "-q")
    assert code == 2 and "missing of the report does not exist" in stderr
    assert list(tmp_path.iterdir()) == []
