"""What may be done to a model, as a look at it finds out."""

from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressctl.pipeline.setup import open_setup
from compressctl.progress import Silent
from compressctl.recipe.load import build_recipe
from compressctl.search.space import survey
from tests.samples import SAMPLES


@contextmanager
def setup(tmp_path, model, objective="size", **keys):
    content = {"model": model, "output": tmp_path / "o.onnx", "search": {"objective": objective}, **keys}
    with open_setup(build_recipe(content, "test"), Silent()) as found:
        yield found


def names(space):
    return {format.name for format in space.formats}


def test_a_cnn_with_calibration_samples_has_everything_but_smoothing(tmp_path):
    with setup(
        tmp_path, SAMPLES / "cnn.onnx", calibrate="digits:train[:16]", data="digits:test", metric="top1"
    ) as found:
        space = survey(found)
    assert {"int8", "w4a8", "w3a8", "auto", "int4", "cluster", "fp16", "float"} <= names(space)
    assert set(space.structures) == {"", "prune", "low_rank", "prune,low_rank", "low_rank,prune"}
    assert "sparsity" in space.choices and "smooth" not in space.choices and space.calibrated and not space.train
    graph = onnx.load(SAMPLES / "cnn.onnx").graph
    layers = {node.name for node in graph.node if node.op_type in ("Conv", "Gemm")}
    assert set(space.spare) == layers and space.most_spared == len(layers) // 2


@pytest.mark.parametrize("objective", ["latency", "both"])
def test_savings_in_time_rank_the_same_layers(tmp_path, objective):
    with setup(tmp_path, SAMPLES / "mlp.onnx", objective, calibrate="digits:train[:16]") as found:
        assert len(survey(found).spare) == 2


def test_without_calibration_samples_nothing_is_static(tmp_path):
    with setup(tmp_path, SAMPLES / "cnn.onnx", data="digits:test", metric="top1") as found:
        space = survey(found)
    assert not {"int8", "w4a8", "auto"} & names(space) and "int4" in names(space) and not space.calibrated


def embedding_model(path):
    rng = np.random.default_rng(0)
    arrays = {"table": rng.normal(size=(50, 32)), "w": rng.normal(size=(32, 64)), "v": rng.normal(size=(64, 3))}
    initializers = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    initializers.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "look_up"),
        helper.make_node("ReduceMean", ["rows", "axes"], ["mean"], "mean", keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "v"], ["y"], "second"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "g", [ids], [y], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_a_model_of_integer_inputs_and_no_convolutions_gets_dynamic_int8_and_embeddings(tmp_path):
    with setup(tmp_path, embedding_model(tmp_path / "m.onnx")) as found:
        space = survey(found)
    assert "int8-dynamic" in names(space) and not {"int8", "w4a8"} & names(space)
    assert {"look_up", "first"} <= set(space.spare)
    assert "prune" in space.structures


def test_sensitive_layers_that_save_little_come_first(tmp_path):
    """Two layers of the same size; 4 bits hold the weights of one exactly."""
    rng = np.random.default_rng(0)
    good = rng.integers(-7, 8, (32, 32)).astype(np.float32)
    good[0] = 7
    bad = rng.normal(size=(32, 32)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "good"], ["a"], "good"),
        helper.make_node("MatMul", ["a", "bad"], ["y"], "bad"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 32]) for name in ("x", "y"))
    weights = [numpy_helper.from_array(good, "good"), numpy_helper.from_array(bad, "bad")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=rng.normal(size=(16, 32)).astype(np.float32))
    with setup(tmp_path, tmp_path / "m.onnx", calibrate=str(tmp_path / "c.npz")) as found:
        assert survey(found).spare == ("bad", "good")
