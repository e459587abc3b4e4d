"""What a run reads."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from compressctl.container.pack import pack
from compressctl.errors import ModelError
from compressctl.model.load import load_model
from compressctl.pipeline.inputs import input_files, input_hashes, model_hash
from compressctl.recipe.load import build_recipe
from tests.graphs import proto
from tests.samples import MLP


def external(path: Path) -> Path:
    """Save a model with its weight in a file beside it."""
    model = proto("y = MatMul(x, w)", {"w": np.eye(64, dtype=np.float32)}, "float[N,64] x", "float[N,64] y")
    onnx.save(model, path, save_as_external_data=True, location=f"{path.stem}.data", size_threshold=0)
    return path


def test_all_files_of_models_and_samples(tmp_path):
    model, student, teacher = (external(tmp_path / f"{name}.onnx") for name in ("model", "student", "teacher"))
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 64), np.float32))
    images = tmp_path / "images" / "cat"
    images.mkdir(parents=True)
    for name in ("1.png", "0.png", "notes.txt"):
        (images / name).write_bytes(b"x")
    passes = [{"type": "distill", "student": str(student), "teachers": [str(teacher)]}]
    keys = {"calibrate": f"{tmp_path}/d.npz[:2]", "train": f"{tmp_path}/images", "data": "digits:test"}
    recipe = build_recipe({"model": model, "output": tmp_path / "o.onnx", "passes": passes, **keys}, "r")
    names = ("model.onnx", "model.data", "student.onnx", "student.data", "teacher.onnx", "teacher.data", "d.npz")
    assert input_files(recipe) == [*(tmp_path / name for name in names), images / "0.png", images / "1.png"]
    assert set(input_hashes(recipe)) == {"calibrate", "train", "data", str(student), str(teacher)}


def test_hashes_of_models_are_those_that_loading_finds(tmp_path):
    model = external(tmp_path / "m.onnx")
    expected = hashlib.sha256(model.read_bytes() + model.with_suffix(".data").read_bytes()).hexdigest()
    assert model_hash(model) == load_model(model).sha256 == expected
    pack(MLP, tmp_path / "m.ccz")
    assert model_hash(tmp_path / "m.ccz") == hashlib.sha256(MLP.read_bytes()).hexdigest()


def test_a_cut_teacher_is_no_file():
    passes = [{"type": "distill", "student": "from-teacher:width=0.5"}]
    recipe = build_recipe({"model": str(MLP), "output": "o.onnx", "passes": passes}, "r")
    assert input_files(recipe) == [MLP] and input_hashes(recipe) == {}


def test_a_metric_in_python_is_read_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_metric.py").write_text("def f(outputs, labels): return labels")
    keys = {"data": "digits:test", "metric": "python:own_metric:f"}
    recipe = build_recipe({"model": str(MLP), "output": "o.onnx", "passes": [], **keys}, "r")
    before = input_hashes(recipe)
    assert [path.name for path in input_files(recipe)] == ["mlp.onnx", "own_metric.py"]
    Path("own_metric.py").write_text("def f(outputs, labels): return 1 - labels")
    assert input_hashes(recipe)["metric"] != before["metric"]


def test_missing_models():
    recipe = build_recipe({"model": "no.onnx", "output": "o.onnx", "passes": []}, "r")
    with pytest.raises(ModelError, match=r"no\.onnx"):
        input_files(recipe)
