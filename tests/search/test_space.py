"""What may be done to a model, as a look at it finds out."""

from contextlib import contextmanager

import numpy as np
import onnx
import pytest

from compressctl.pipeline.setup import open_setup
from compressctl.progress import Silent
from compressctl.recipe.load import build_recipe
from compressctl.search.space import survey
from tests import graphs
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


def test_a_model_of_integer_inputs_and_no_convolutions_gets_dynamic_int8_and_embeddings(tmp_path):
    random = graphs.Random(0)
    arrays = {"table": random(50, 32), "w": random(32, 64), "v": random(64, 3), "axes": np.array([1])}
    body = """[look_up] rows = Gather(table, ids) mean = ReduceMean<keepdims = 0>(rows, axes)
        [first] h = MatMul(mean, w) r = Relu(h) [second] y = MatMul(r, v)"""
    path = graphs.save(tmp_path / "m.onnx", body, arrays, "int64[batch, 5] ids", "float[batch, 3] y", 18)
    with setup(tmp_path, path) as found:
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
    body, arrays = "[good] a = MatMul(x, good) [bad] y = MatMul(a, bad)", {"good": good, "bad": bad}
    graphs.save(tmp_path / "m.onnx", body, arrays, "float[batch, 32] x", "float[batch, 32] y")
    np.savez(tmp_path / "c.npz", x=rng.normal(size=(16, 32)).astype(np.float32))
    with setup(tmp_path, tmp_path / "m.onnx", calibrate=str(tmp_path / "c.npz")) as found:
        assert survey(found).spare == ("bad", "good")
