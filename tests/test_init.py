"""`compressctl init`: what it finds, that its recipes run, and that each alternative in them is one."""

import json
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from compressctl.__main__ import run
from compressctl.recipe.load import load_recipes
from compressctl.starter.text import key
from tests.graphs import save
from tests.samples import SAMPLES


@pytest.fixture
def init(call, tmp_path, monkeypatch):
    """Run `compressctl init` in an empty folder; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    return partial(call, "init")


def regression(path: Path) -> Path:
    """Write a model of opset 11 with one number out, y = x w, and samples.npz for it."""
    weights = np.linspace(-1, 1, 64, dtype=np.float32).reshape(64, 1)
    x = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    np.savez(path.with_name("samples.npz"), x=x, labels=(x @ weights)[:, 0])
    return save(path, "y = MatMul(x, w)", {"w": weights}, "float[N, 64] x", "float[N, 1] y", 11)


@pytest.mark.parametrize(
    ("name", "kind", "scheme"),
    [
        ("cnn", "convolutional network", "int8"),
        ("cnn_student", "convolutional network", "int8"),
        ("transformer", "transformer", "int8-dynamic"),
        ("lstm", "recurrent network", "int8-dynamic"),
        ("mlp", "feed-forward network", "int8-dynamic"),
    ],
)
def test_the_kind_decides_the_scheme(init, name, kind, scheme):
    code, stdout, _ = init(SAMPLES / f"{name}.onnx", "--json", "--data", "digits:test")
    content = json.loads(stdout)
    assert code == 0 and content["model"]["kind"] == kind
    assert content["samples"]["data"]["count"] == 360 and content["samples"]["data"]["metrics"][0] == "top1"
    recipe = yaml.safe_load(Path(f"{name}.yaml").read_text())
    assert recipe["passes"] == [{"type": "simplify"}, {"type": "quantize", "scheme": scheme}]
    assert recipe["data"] == "digits:test" and recipe["metric"] == "top1" and recipe["max_accuracy_drop"] == 0.02


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        *(("mlp", "fast"), ("cnn", "small"), ("lstm", "both")),
        *(
            pytest.param(name, goal, marks=pytest.mark.long)
            for goal, names in {
                "fast": ("cnn", "transformer", "lstm"),
                "small": ("mlp", "transformer", "lstm"),
                "both": ("cnn", "transformer"),
            }.items()
            for name in names
        ),
    ],
)
def test_the_recipe_runs_and_keeps_its_budgets(init, capsys, name, goal):
    samples = ("--calibrate", "digits:train", "--data", "digits:test")
    assert init(SAMPLES / f"{name}.onnx", "--goal", goal, *samples)[0] == 0
    # What is as slow as the input is rolled back where a busy machine measures it slower; sizes are what is looked at.
    Path(f"{name}.yaml").write_text(Path(f"{name}.yaml").read_text().replace("rollback", "keep"))
    assert run(["pipeline", f"{name}.yaml", "--json", "-q"]) == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert [verdict["met"] for verdict in report["budgets"]] == [True, True]
    assert report["passes"][0]["type"] == "simplify"


@pytest.mark.parametrize("train", [(), ("--train", "digits:train")])
@pytest.mark.parametrize("goal", ["fast", "small", "both"])
@pytest.mark.parametrize("name", ["cnn", "transformer"])
def test_each_alternative_can_be_taken(init, name, goal, train):
    init(SAMPLES / f"{name}.onnx", "--goal", goal, "--data", "digits:test", *train)
    lines = Path(f"{name}.yaml").read_text().splitlines()
    taken = [i for i, line in enumerate(lines) if re.match(r" *#[^ ]", line) or re.match(r" +#  ", line)]
    assert len(taken) >= 4
    groups = np.split(taken, np.flatnonzero(np.diff(taken) > 1) + 1)
    plain = load_recipes(Path(f"{name}.yaml"))
    for group in groups:
        chosen = [line.replace("#", "", 1) if i in group else line for i, line in enumerate(lines)]
        Path("other.yaml").write_text("\n".join(chosen))
        assert load_recipes(Path("other.yaml")) != plain


def test_every_line_has_a_reason(init):
    init(SAMPLES / "cnn.onnx", "--data", "digits:test")
    lines = Path("cnn.yaml").read_text().splitlines()
    for before, line in pairwise(lines):
        if re.match(r"\w+: ", line) and not line.startswith("model:"):
            assert before.startswith("# "), line


def test_a_recipe_is_not_overwritten(init):
    Path("cnn.yaml").write_text("mine")
    code, _, stderr = init(SAMPLES / "cnn.onnx")
    assert code == 2 and "--force" in stderr and Path("cnn.yaml").read_text() == "mine"
    assert init(SAMPLES / "cnn.onnx", "--force")[0] == 0 and "passes:" in Path("cnn.yaml").read_text()


def test_dash_prints_and_writes_nothing(init, tmp_path):
    code, stdout, _ = init(SAMPLES / "mlp.onnx", "-o", "-")
    assert code == 0 and yaml.safe_load(stdout)["output"] == "mlp_int8.onnx" and not list(tmp_path.iterdir())


def test_the_same_model_gives_the_same_text(init):
    assert init(SAMPLES / "cnn.onnx", "-o", "-") == init(SAMPLES / "cnn.onnx", "-o", "-")


def test_convolutions_without_samples_get_a_loud_stand_in(init):
    code, stdout, _ = init(SAMPLES / "cnn.onnx")
    assert code == 0 and "warning: calibrate: random:64 stands in" in stdout
    text = Path("cnn.yaml").read_text()
    assert "REPLACE THIS" in text and yaml.safe_load(text)["calibrate"] == "random:64" and "\nmetric" not in text


def test_samples_that_judge_calibrate_only_for_want_of_others(init):
    init(SAMPLES / "cnn.onnx", "-o", "a.yaml", "--data", "digits:test")
    assert "better take others.\ncalibrate: digits:test[:256] " in Path("a.yaml").read_text().replace("\n# ", " ")
    init(SAMPLES / "cnn.onnx", "-o", "b.yaml", "--data", "digits:test", "--train", "digits:train", "--goal", "both")
    recipe = yaml.safe_load(Path("b.yaml").read_text())
    assert recipe["calibrate"] == "digits:train[:256]" and recipe["train"] == "digits:train"
    assert recipe["passes"][1]["type"] == "qat" and "better take others" not in Path("b.yaml").read_text()


def test_unlabelled_samples_calibrate(init):
    np.save("x.npy", np.random.default_rng(0).random((300, 1, 8, 8), np.float32))
    code, stdout, _ = init(SAMPLES / "cnn.onnx", "--data", "x.npy")
    recipe = yaml.safe_load(Path("cnn.yaml").read_text())
    assert code == 0 and "has no labels" in stdout and recipe["calibrate"] == "x.npy[:256]" and "data" not in recipe


def test_options_of_samples_stay_behind_the_slice(init):
    np.savez("x.npz", input=np.zeros((300, 1, 8, 8), np.float32), answers=np.zeros(300, int))
    init(SAMPLES / "cnn.onnx", "--calibrate", "x.npz,labels=answers")
    assert yaml.safe_load(Path("cnn.yaml").read_text())["calibrate"] == "x.npz[:256],labels=answers"


def test_numbers_are_judged_by_rank_and_old_opsets_are_read(init, tmp_path):
    code, _, stderr = init(regression(tmp_path / "line.onnx"), "--data", "samples.npz")
    recipe = yaml.safe_load(Path("line.yaml").read_text())
    assert code == 0, stderr
    assert recipe["metric"] == "spearman" and recipe["max_accuracy_drop"] == 0.01
    assert "# What is measured on them. Also: pearson, mse." in Path("line.yaml").read_text()


def test_a_metric_of_ones_own_choice_is_checked(init):
    assert init(SAMPLES / "mlp.onnx", "--data", "digits:test", "--metric", "f1")[0] == 0
    assert yaml.safe_load(Path("mlp.yaml").read_text())["metric"] == "f1"
    code, _, stderr = init(SAMPLES / "mlp.onnx", "--data", "digits:test", "--metric", "mse", "--force")
    assert code == 3 and "mse judges" in stderr


def test_torchscript_needs_its_input(init):
    pytest.importorskip("torch")
    code, _, stderr = init(SAMPLES / "cnn_traced.pt")
    assert code == 2 and "--input" in stderr and not Path("cnn_traced.yaml").exists()
    assert init(SAMPLES / "cnn_traced.pt", "--input", "input:1x1x8x8")[0] == 0
    assert yaml.safe_load(Path("cnn_traced.yaml").read_text())["input"] == ["input:1x1x8x8"]


def test_packed_models_are_looked_into(init):
    code, stdout, _ = init(SAMPLES / "mlp.ccz", "--json")
    facts = json.loads(stdout)["model"]
    assert code == 0 and facts["parameters"] == 9610 and facts["path"].endswith("mlp.ccz")
    assert facts["file_bytes"] == (SAMPLES / "mlp.ccz").stat().st_size


@pytest.mark.parametrize("scheme", [pytest.param(name, marks=pytest.mark.long) for name in ("int8", "int4", "fp16")])
def test_a_compressed_model_is_told_and_only_stored(init, capsys, scheme):
    arguments = ["--scheme", scheme, "--calibrate", "digits:train[:64]", "-q"]
    assert run(["quantize", str(SAMPLES / "cnn.onnx"), "-o", "done.onnx", *arguments]) == 0
    capsys.readouterr()
    code, stdout, _ = init("done.onnx")
    assert code == 0 and "compressed already" in stdout
    assert ("--format dense" in stdout) == (scheme != "int8")
    assert load_recipes(Path("done.yaml"))[0].passes[0].type == "store"
    assert run(["pipeline", "done.yaml", "-q"]) == 0


def test_a_tiny_model_is_told(init, tmp_path):
    assert "tiny: 256 bytes of weights" in init(regression(tmp_path / "line.onnx"))[1]


def test_nothing_to_compress_is_refused(init):
    save(Path("empty.onnx"), "y = Relu(x)", {}, "float[N, 4] x", "float[N, 4] y")
    code, _, stderr = init("empty.onnx")
    assert code == 3 and "no weights" in stderr and not Path("empty.yaml").exists()


def test_files_that_are_missing_or_do_not_fit(init):
    assert init("nothing.onnx")[0] == 3
    code, _, stderr = init(SAMPLES / "cnn.onnx", "--data", "nothing.npz")
    assert code == 3 and "nothing.npz" in stderr
    np.savez("wrong.npz", input=np.zeros((4, 3, 8, 8), np.float32))
    code, _, stderr = init(SAMPLES / "cnn.onnx", "--data", "wrong.npz")
    assert code == 3 and "4x3x8x8" in stderr
    assert init(SAMPLES / "cnn.onnx", "-o", "no/folder.yaml")[0] == 2 and not Path("cnn.yaml").exists()


def test_names_that_yaml_would_misread(init):
    name = "a b: #1 'x' é.onnx"
    Path(name).write_bytes((SAMPLES / "mlp.onnx").read_bytes())
    assert init(name, "-o", "r.yaml")[0] == 0
    recipe = load_recipes(Path("r.yaml"))[0]
    assert recipe.model == Path(name) and recipe.output == Path("a b: #1 'x' é_int8.onnx")


@given(st.text())
def test_any_text_is_quoted_as_yaml_wants_it(text):
    assert yaml.safe_load(key("data", text)) == {"data": text.replace("${", "$${")}


def test_sizes_are_asked_for_where_the_file_leaves_them_open(init, tmp_path):
    """The axis of samples is no such place, wherever it is; fixed sizes stay as they are."""
    body = (
        "s = ReduceSum <keepdims = 0> (x, one) t = Add(h, s) hn = Identity(t) z = Unsqueeze(s, zero) y = MatMul(z, w)"
    )
    arrays = {"w": np.ones((1, 8, 64), np.float32), "one": np.array([1]), "zero": np.array([0])}
    save(
        tmp_path / "m.onnx", body, arrays, "float[N, T, 8] x, float[2, N, 8] h", "float[1, N, 64] y, float[2, N, 8] hn"
    )
    code, _, stderr = init("m.onnx")
    assert code == 0, stderr
    assert '#input: ["x:1x128x8:float32"]' in Path("m.yaml").read_text().replace("'", '"')
