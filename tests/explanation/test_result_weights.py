"""Weights read out of results against what their integers, scales and tables stand for, by numpy."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compressctl.explanation.layers import weighted_nodes
from compressctl.explanation.weights import ResultWeights
from compressctl.model.load import load_model
from compressctl.model.save import save_model
from compressctl.passes import quantize, quantize_weights
from tests import graphs
from tests.explanation.files import after, value
from tests.passes import apply
from tests.samples import SAMPLES

RNG = np.random.default_rng(0)


def read(model, result):
    """Return the weights of all layers, by name."""
    original, other = load_model(model).model, load_model(result).model
    reader, nodes = ResultWeights(other, 1), {node.name: node for node in original.graph}
    given = {output.name for node in other.graph for output in node.outputs}
    found = {}
    for layer in weighted_nodes(original.graph):
        value = next(value for value in layer.values if value in given)
        found[layer.name] = reader.of(layer, value, nodes[layer.name])
    return found


def constants(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def test_unchanged_weights_are_those_of_the_file():
    for name in ("cnn", "mlp", "transformer", "lstm"):
        path = SAMPLES / f"{name}.onnx"
        stored = list(constants(path).values())
        for weights in read(path, path).values():
            for array in (*weights.arrays, *([] if weights.bias is None else [weights.bias])):
                assert any(np.array_equal(array, one) for one in stored)


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_products_that_quantize_on_the_fly(name, tmp_path):
    path = SAMPLES / f"{name}.onnx"
    result = after(path, [{"type": "simplify"}, {"type": "quantize", "scheme": "int8-dynamic"}], tmp_path)
    before, stored = constants(path), constants(result)
    weights = {key.removesuffix("_int8"): key for key in stored if key.endswith("_int8")}
    assert weights
    for name, found in read(path, result).items():
        (match,) = (
            key
            for key in weights
            if stored[f"{key}_int8"].T.shape in (found.arrays[0].shape, found.arrays[0].T.shape)
            and np.allclose(_float(stored, key, found.arrays[0].shape), found.arrays[0], atol=1e-6)
        )
        expected = _float(stored, match, found.arrays[0].shape)
        np.testing.assert_allclose(found.arrays[0], expected, rtol=1e-5, atol=1e-7, err_msg=name)
        assert np.abs(expected - before[match]).max() <= stored[f"{match}_scale"].max() * 0.51


def _float(stored, key, shape):
    array = stored[f"{key}_int8"].astype(np.float32) * stored[f"{key}_scale"]
    return array if array.shape == shape else array.T


def test_recurrent_layers_that_quantize_on_the_fly(tmp_path):
    path = SAMPLES / "lstm.onnx"
    result = after(path, [{"type": "quantize", "scheme": "int8-dynamic"}], tmp_path)
    before, stored = constants(path), constants(result)
    for array, key in zip(read(path, result)["/lstm/LSTM"].arrays, ("lstm.W", "lstm.R"), strict=True):
        scales = stored[f"{key}_scale"].reshape(1, 1, -1)
        expected = (stored[f"{key}_int8"].astype(np.float32) * scales).transpose(0, 2, 1)
        np.testing.assert_allclose(array, expected, rtol=1e-6)
        assert np.abs(array - before[key]).max() <= scales.max() * 0.51


@pytest.mark.parametrize("config", [quantize.Config(scheme="int8-dynamic"), quantize_weights.Config(scheme="int4")])
def test_embeddings_are_looked_up_row_by_row(config, tmp_path):
    table = RNG.normal(size=(50, 32)).astype(np.float32)
    arrays = {"table": table, "weight": RNG.normal(size=(32, 7)).astype(np.float32)}
    body = "[embed] e = Gather (table, ids) [fc] y = MatMul (e, weight)"
    words = graphs.save(tmp_path / "words.onnx", body, arrays, "int64[batch, 5] ids", "float[batch, 5, 7] y")
    outcome = apply(config, load_model(words).model, tmp_path)
    save_model(outcome.model, tmp_path / "q.onnx", overwrite=True)
    found = read(words, tmp_path / "q.onnx")["embed"].arrays[0]
    assert found.shape == table.shape and 1e-4 < np.abs(found - table).max() < 0.3
    ids = np.arange(50).reshape(10, 5)
    np.testing.assert_array_equal(found, value(tmp_path / "q.onnx", "e", {"ids": ids}).reshape(50, 32))


def test_factors_are_multiplied(tmp_path):
    path = SAMPLES / "mlp.onnx"
    result = after(path, [{"type": "simplify"}, {"type": "low_rank", "ratio": 0.5}], tmp_path, calibrated=False)
    assert len(onnx.load(result).graph.node) > len(onnx.load(path).graph.node)
    before, found = constants(path)["hidden.weight"], read(path, result)["/hidden/Gemm"].arrays[0]
    assert found.shape == before.shape
    error = np.linalg.norm(found - before) / np.linalg.norm(before)
    rank = np.linalg.matrix_rank(found.astype(np.float64), tol=1e-4)
    values = np.linalg.svd(before.astype(np.float64), compute_uv=False)
    best = np.linalg.norm(values[rank:]) / np.linalg.norm(values)  # Eckart and Young
    assert rank < min(before.shape) and error == pytest.approx(best, rel=1e-3)
