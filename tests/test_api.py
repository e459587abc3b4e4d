"""compressctl from Python: what docs/python.md and the notebook say runs, and gives what the command line gives."""

from __future__ import annotations

import ast
import inspect
import json
import shutil
from pathlib import Path

import pytest

import compressctl
from compressctl.__main__ import run as command
from compressctl.errors import OutputError, RecipeError, UsageError
from compressctl.recipe.model import Recipe
from tests.commands import blocks
from tests.samples import MLP, ROOT

STORE = {"model": "mlp.onnx", "output": "out.onnx", "passes": [{"type": "store"}]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(MLP, "mlp.onnx")
    return tmp_path


def shown(code: str, names: dict[str, object]) -> object:
    """Run a cell as a notebook does; return the value of its last line, where that is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def test_the_page_runs(folder):
    names: dict[str, object] = {}
    for block in blocks((ROOT / "docs/python.md").read_text(), "python"):
        shown(block, names)
    assert names["report"].output.bytes == Path("mlp_int8.onnx").stat().st_size


def test_the_notebook_runs(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "sample_models").symlink_to(ROOT / "sample_models")
    monkeypatch.chdir(tmp_path / "docs")
    names: dict[str, object] = {}
    cells = json.loads((ROOT / "docs/notebook.ipynb").read_text())["cells"]
    values = [shown("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    report, table = values[0]._repr_html_(), values[-1]._repr_html_()
    assert "mlp_int8.onnx" in report and "max_accuracy_drop" in report and "SQNR" in report
    assert all(name in table for name in ("mlp.onnx", "mlp_int8.onnx", "mlp_int4.onnx"))


def test_it_is_what_the_command_line_does(folder, capsys):
    report = compressctl.run(compressctl.load_recipe(STORE), progress=False)
    assert capsys.readouterr() == ("", "")
    assert command(["store", "mlp.onnx", "-o", "again.onnx", "-q"]) == 0
    told = json.loads(Path("again.report.json").read_text())
    assert Path("again.onnx").stat().st_size == report.output.bytes
    assert report.passes[0].options == told["passes"][0]["options"] and report.verdict == told["verdict"]
    assert json.loads(report.to_json()) == json.loads(Path("out.report.json").read_text())
    assert report.to_markdown() == Path("out.report.md").read_text()
    assert compressctl.load_report("out.report.json").output_sha256 == report.output_sha256


def test_keys_replace_those_of_the_recipe(folder):
    Path("r.yaml").write_text(
        "{vars: {n: 8}, model: a.onnx, output: o.onnx, passes: [{type: cluster, clusters: '${n}'}]}"
    )
    recipe = compressctl.load_recipe("r.yaml", settings=["n=4"], model=Path("mlp.onnx"), size_ratio=0.5)
    assert isinstance(recipe, compressctl.Recipe) and (str(recipe.model), recipe.size_ratio) == ("mlp.onnx", 0.5)
    assert recipe.passes[0].clusters == 4
    assert compressctl.load_recipe(STORE, output="else.onnx").output == Path("else.onnx")


def test_what_cannot_be_is_said(folder):
    with pytest.raises(RecipeError, match="there is no pass 'stored'"):
        compressctl.load_recipe({**STORE, "passes": [{"type": "stored"}]})
    Path("r.yaml").write_text(json.dumps({**STORE, "output": "${n}.onnx", "sweep": {"n": ["a", "b"]}}))
    with pytest.raises(UsageError, match="2 runs") as caught:
        compressctl.load_recipe("r.yaml")
    assert "load_recipes" in caught.value.hint and len(compressctl.load_recipes("r.yaml")) == 2
    Path("out.onnx").write_text("mine")
    with pytest.raises(OutputError, match=r"out\.onnx"):
        compressctl.run(compressctl.load_recipe(STORE), progress=False)
    assert Path("out.onnx").read_text() == "mine"
    with pytest.raises(UsageError, match="needs a model"):
        compressctl.bench()
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        _ = compressctl.quantise


def test_a_missed_budget_is_an_exit_code(folder):
    report = compressctl.run(compressctl.load_recipe(STORE, size_ratio=0.01, on_regression="keep"), progress=False)
    assert (report.verdict, report.exit_code) == ("budget missed", 4)
    assert "budget missed" in repr(report)


def test_what_bench_takes_is_what_recipes_have():
    for name, parameter in inspect.signature(compressctl.bench).parameters.items():
        if name in Recipe.model_fields:
            assert parameter.default == Recipe.model_fields[name].default, name


def test_all_names_are_there():
    assert all(getattr(compressctl, name) for name in compressctl.__all__)
    assert set(compressctl.__all__) == set(compressctl.api.__all__)
