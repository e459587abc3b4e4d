"""Runs whose passes find nothing to do: they never make a file larger."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import shape_inference

from compressctl.__main__ import run
from compressctl.container.pack import pack
from compressctl.model.external import model_files
from compressctl.model.load import load_model
from compressctl.model.same import same_model
from compressctl.model.save import save_model
from compressctl.model.size import file_bytes
from tests.graphs import Random, proto
from tests.samples import SAMPLES


def mlp(path: Path, *, stated: bool = False, external: bool = False) -> Path:
    random = Random(0)
    weights = {name: random(64, 64) for name in "wv"}
    model = proto("h = MatMul(x, w) r = Relu(h) y = MatMul(r, v)", weights, "float[N,64] x", "float[N,64] y")
    model = shape_inference.infer_shapes(model) if stated else model
    onnx.save(model, path, save_as_external_data=external, location=f"{path.stem}.weights", size_threshold=0)
    return path


def packed(path: Path) -> Path:
    pack(mlp(path), path.with_suffix(".ccz"))
    return path.with_suffix(".ccz")


@pytest.fixture
def compress(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def _compress(*arguments: object) -> None:
        assert run([*map(str, arguments), "--threads", "1"]) == 0

    return _compress


@pytest.mark.parametrize(
    ("make", "output"),
    [
        (mlp, "out.onnx"),
        (lambda path: mlp(path, stated=True), "out.onnx"),
        (packed, "out.ccz"),
    ],
    ids=["plain", "with types stated", "packed"],
)
def test_the_bytes_of_the_input_are_handed_on(make, output, tmp_path, compress, capsys):
    model = make(tmp_path / "in.onnx")
    compress("store", model, "-o", output, "--verbose")
    assert "changed nothing" in capsys.readouterr().out
    assert (tmp_path / output).read_bytes() == model.read_bytes()
    compress(
        "store", model, "-o", output, "--seed", 1, "--cache", "c"
    )  # a copy of the input is replaced without --force
    assert (tmp_path / output).read_bytes() == model.read_bytes()


def test_external_data_come_along(tmp_path, compress):
    model = mlp(tmp_path / "in.onnx", external=True)
    compress("store", model, "-o", "out.onnx")
    assert model_files(tmp_path / "out.onnx") == (tmp_path / "out.onnx",)
    assert file_bytes(tmp_path / "out.onnx") <= file_bytes(model)
    assert same_model(load_model(tmp_path / "out.onnx").model, load_model(model).model)
    compress("store", model, "-o", "out.onnx", "--seed", 1)


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [("quantize", "--calibrate", "random:4"), ("quantize", "--scheme", "int4")],
    ids=" ".join,
)
def test_a_result_compressed_again_is_no_larger(command, tmp_path, compress):
    name, *options = command
    compress(name, SAMPLES / "transformer.onnx", "-o", "once.onnx", *options)
    compress(name, "once.onnx", "-o", "twice.onnx", *options)
    assert file_bytes(tmp_path / "twice.onnx") <= file_bytes(tmp_path / "once.onnx")


def test_types_that_follow_are_not_written_and_those_that_were_stated_are(tmp_path):
    loaded = load_model(mlp(tmp_path / "in.onnx", stated=True))
    assert loaded.stated == {"h", "r"}
    for stated in (set(), {"r"}):
        (path,) = save_model(loaded.model, tmp_path / "out.onnx", overwrite=True, stated=stated)
        assert {info.name for info in onnx.load(path).graph.value_info} == stated
        again = load_model(path).model
        assert [node.outputs[0].shape for node in again.graph] == [node.outputs[0].shape for node in loaded.model.graph]


def test_what_differs_is_not_the_same_model(tmp_path):
    model = load_model(mlp(tmp_path / "in.onnx")).model
    assert same_model(model, load_model(mlp(tmp_path / "stated.onnx", stated=True)).model)
    other = load_model(mlp(tmp_path / "in.onnx")).model
    weight = other.graph.initializers["w"]
    weight.const_value = ir.tensor(weight.const_value.numpy() + np.eye(64, dtype=np.float32), name="w")
    assert not same_model(model, other)
    renamed = load_model(mlp(tmp_path / "in.onnx")).model
    renamed.graph[0].name = "another"
    assert not same_model(model, renamed)
