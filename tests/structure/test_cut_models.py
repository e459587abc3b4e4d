"""Whole networks are halved: the sample models, and those of the onnx package, with random weights."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from halving import error, half, run, shrunk

from compressctl.model.graph import constant, remove_dead
from compressctl.model.load import load_model
from compressctl.model.size import count
from compressctl.simplification.rules import apply_rules
from compressctl.structure.groups import find_groups
from compressctl.structure.shapes import Shapes

SAMPLES = sorted((Path(__file__).parents[2] / "sample_models").glob("*.onnx"))
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
# what stays of the multiply-accumulates; LRN keeps layers of inception_v1 whole, a shuffle those of shufflenet
NETWORKS = {"squeezenet": 0.33, "shufflenet": 0.36, "inception_v1": 0.38, "inception_v2": 0.27, "resnet50": 0.26}


def work(model):
    """Multiply-accumulates of Conv and matrix products of one run, from the shapes that their weights have."""
    shapes, total = Shapes(model), 0
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weight = node.inputs[1].const_value
            made = np.prod([size for size, _ in shapes.of(node.outputs[0])])
            if node.op_type == "Conv":
                total += int(made * np.prod(weight.shape.numpy()[1:]))
            else:
                total += int(made * shapes.of(node.inputs[0])[-1][0])
    return total


def with_weights(model):
    """Give a light model random weights where it makes constant ones."""
    rng = np.random.default_rng(0)
    for node in list(model.graph):
        shape = constant(node.inputs[0]) if node.op_type == "ConstantOfShape" else None
        if shape is None:
            continue
        array = rng.standard_normal(shape, dtype=np.float32) / np.float32(max(np.prod(shape[1:]), 4)) ** 0.5
        use = node.outputs[0].uses()[0]
        if use.node.op_type == "BatchNormalization" and use.idx in (1, 4):  # scale and variance
            array = np.abs(array) + np.float32(0.5)
        name = f"{node.name}_weight"
        tensor = ir.tensor(array.astype(np.float32), name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        node.outputs[0].replace_all_uses_with(value)
        model.graph.register_initializer(value)
    remove_dead(model)
    return model


def feeds(model, batch):
    rng = np.random.default_rng(batch)
    sizes = {
        value.name: [dim if isinstance(dim, int) else batch for dim in value.shape] for value in model.graph.inputs
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in sizes.items()}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_models(path):
    model = load_model(path).model
    for simplified in (False, True):
        if simplified:
            apply_rules(model)
        groups = find_groups(model)
        removed = half(groups)
        assert len(removed) == sum(not group.fixed.all() and group.kind != "width" for group in groups)
        assert error(model, groups, removed, [feeds(model, 1), feeds(model, 3)]) < 1e-5
        assert count(shrunk(model, groups, removed)).macs <= 0.51 * count(model).macs
        run(shrunk(model, groups, half(groups, ("width",))), [feeds(model, 2)])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "squeezenet" else pytest.mark.long) for name in NETWORKS]
)
def test_networks_of_the_onnx_package(name):
    model = with_weights(load_model(LIGHT / f"light_{name}.onnx").model)
    apply_rules(model)
    groups = find_groups(model)
    removed = half(groups)
    assert error(model, groups, removed, [feeds(model, 1)]) < 1e-5
    small = shrunk(model, groups, removed)
    ratio = count(small).macs / count(model).macs
    assert ratio == pytest.approx(NETWORKS[name], abs=0.01)
    assert ratio == pytest.approx(work(small) / work(model), rel=1e-6)
