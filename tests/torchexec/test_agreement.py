"""The executor against onnxruntime on whole models: the samples, and those that come with the onnx package."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from compressctl.data.random import random_feeds
from compressctl.measure.session import Session
from compressctl.model.graph import constant, initializer, remove_dead
from compressctl.model.load import interface, load_model
from compressctl.torchexec.module import GraphModule

SAMPLES = sorted((Path(__file__).parents[2] / "sample_models").glob("*.onnx"))
LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("light_*.onnx"))


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_sample_models(file):
    model = load_model(file).model
    specs = interface(model)[0]
    modules = [GraphModule(model, mode=mode).eval() for mode in ("interpret", "trace")]
    for batch in (1, 5, 5):  # a record serves the second time
        feeds = random_feeds(specs, batch, seed=batch)
        expected = Session(model, optimize=False).run(feeds)
        for module in modules:
            for name, value in run(module, feeds).items():
                np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5)
    assert modules[1].interpreted is None


@pytest.mark.skipif(not LIGHT, reason="this build of onnx has no light_* models")
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(
            file, id=file.stem, marks=pytest.mark.long if re.search("vgg|zfnet|densenet|alex", file.stem) else ()
        )
        for file in LIGHT
    ],
)
def test_light_models(file):
    model = load_model(file).model
    randomize(model)
    feeds = random_feeds(interface(model)[0], 1, seed=0)
    module = GraphModule(model).eval()
    assert module.weights
    (expected,) = Session(model, optimize=False).run(feeds).values()
    for _ in range(2):
        (value,) = run(module, feeds).values()
        scale = np.abs(expected).max()
        assert np.isfinite(scale) and scale > 0
        np.testing.assert_allclose(value / scale, expected / scale, rtol=1e-3, atol=1e-5)
    assert module.interpreted is None


def run(module: GraphModule, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {
            name: value.numpy() for name, value in module({k: torch.from_numpy(v) for k, v in feeds.items()}).items()
        }


def randomize(model: ir.Model) -> None:
    """Give every weight random values of a sensible size: the files hold one constant for all."""
    rng = np.random.default_rng(0)
    for node in list(model.graph):
        for index, value in enumerate(node.inputs):
            array = constant(value)
            if array is None or array.dtype != np.float32 or array.size < 2:
                continue
            deviation = np.sqrt(2 / np.prod(array.shape[1:])) if array.ndim > 1 else 0.1
            new = rng.normal(scale=deviation, size=array.shape).astype(np.float32)
            if node.op_type == "BatchNormalization":
                new = np.abs(new) + np.float32(0.5)
            node.replace_input_with(index, initializer(model.graph, f"{node.name}_{index}", new))
    remove_dead(model)
