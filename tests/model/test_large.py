"""Models of large weights: what of them is held in memory while they are loaded and their shapes are inferred."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, numpy_helper

from compressctl import probation
from compressctl.errors import ModelError
from compressctl.measure.worker import peak_rss
from compressctl.model import wire
from compressctl.model.load import load_model
from compressctl.model.save import save_model
from compressctl.model.shapes import infer_shapes
from compressctl.model.size import file_bytes
from compressctl.probation import on_probation
from tests import graphs

WIDTH = 2100


def proto(weight: TensorProto) -> onnx.ModelProto:
    """Return x [n, 2100] -> MatMul(weight) -> Add(bias) -> y."""
    bias, dims = np.arange(WIDTH, dtype=np.float32), f"float[n, {WIDTH}]"
    model = graphs.proto("h = MatMul(x, w) y = Add(h, bias)", {"bias": bias}, f"{dims} x", f"{dims} y")
    model.graph.initializer.insert(0, weight)
    return model


@pytest.fixture
def weight() -> TensorProto:
    return numpy_helper.from_array(np.random.default_rng(0).standard_normal((WIDTH, WIDTH), dtype=np.float32), "w")


def test_a_large_weight_stays_in_its_file(tmp_path: Path, weight: TensorProto) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(proto(weight), path)
    loaded = load_model(path)
    tensor = loaded.model.graph.initializers["w"].const_value
    assert isinstance(tensor, ir.ExternalTensor)
    assert np.array_equal(tensor.numpy(), numpy_helper.to_array(weight))
    assert file_bytes(path) == path.stat().st_size
    save_model(loaded.model, tmp_path / "again.onnx", overwrite=False, stated=loaded.stated)
    assert onnx.load(tmp_path / "again.onnx").graph.initializer[0] == weight
    assert not list(tmp_path.glob("*.data"))


def test_links_to_a_file_lead_to_its_weights(tmp_path: Path, weight: TensorProto) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "blob").write_bytes(proto(weight).SerializeToString())
    symbolic, hard = tmp_path / "model.onnx", tmp_path / "hard.onnx"
    symbolic.symlink_to(tmp_path / "store" / "blob")
    expected = numpy_helper.to_array(weight)
    for path in (symbolic, hard):
        if path is hard:
            os.link(tmp_path / "store" / "blob", hard)
        tensor = load_model(path).model.graph.initializers["w"].const_value
        assert tensor is not None
        assert np.array_equal(tensor.numpy(), expected)


def test_what_protobuf_merges_is_parsed_as_a_whole(tmp_path: Path, weight: TensorProto) -> None:
    path, model = tmp_path / "model.onnx", proto(weight)
    rest = onnx.GraphProto(doc_string="said later")
    path.write_bytes(model.SerializeToString() + wire.delimited(wire.GRAPH, rest.SerializeToString()))
    loaded = load_model(path).model
    assert loaded.graph.doc_string == "said later"
    tensor = loaded.graph.initializers["w"].const_value
    assert tensor is not None
    assert np.array_equal(tensor.numpy(), numpy_helper.to_array(weight))


def test_a_large_weight_of_a_wrong_size_is_refused(tmp_path: Path, weight: TensorProto) -> None:
    weight.raw_data = weight.raw_data[:-4]
    path = tmp_path / "model.onnx"
    path.write_bytes(proto(weight).SerializeToString())
    with pytest.raises(ModelError, match=rf"'w' holds {4 * WIDTH**2 - 4} bytes, its type and shape say {4 * WIDTH**2}"):
        load_model(path)


def test_a_file_cannot_claim_that_a_weight_lies_within_it(tmp_path: Path, weight: TensorProto) -> None:
    weight.raw_data, weight.data_location = b"", TensorProto.EXTERNAL
    for key, value in {"location": "\0here", "offset": "0", "length": str(4 * WIDTH**2)}.items():
        weight.external_data.add(key=key, value=value)
    path = tmp_path / "model.onnx"
    path.write_bytes(proto(weight).SerializeToString())
    with pytest.raises(ModelError):
        load_model(path)


def test_long_vectors_are_no_shapes() -> None:
    """onnx would hold a symbol of over 100 bytes for each of their elements."""
    count = 1 << 22
    body = "i = Cast <to = 6> (packed) f = Cast <to = 1> (i) m = Reshape(f, shape) y = MatMul(x, m)"
    arrays = {"packed": np.zeros(count, np.uint8), "shape": np.array([2, -1])}
    model = ir.from_proto(graphs.proto(body, arrays, "float[n, 2] x", "float y"))
    model.graph.outputs[0].shape = None
    before = peak_rss()
    infer_shapes(model)
    after = peak_rss()
    assert model.graph.outputs[0].shape == ir.Shape(["n", count // 2])
    assert before is None or after is None or after - before < 25 * count


def test_external_data_count_whenever_the_file_is_on_probation(tmp_path: Path, weight: TensorProto) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(proto(weight), path, save_as_external_data=True, location="model.data", size_threshold=1 << 20)
    whole = path.stat().st_size + (tmp_path / "model.data").stat().st_size
    for _ in range(2):
        with on_probation(path):
            load_model(path)
            assert probation._watched[-1].size == whole
    with on_probation(path):  # as when it is run
        assert probation._watched[-1].size == whole
