"""Exports of torch modules, raw and simplified, at two sizes of the input: cut is masked, and what should be cut is."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from halving import half, halved, run, shrunk
from networks import NETWORKS

from compressctl.model.load import load_model
from compressctl.simplification.rules import apply_rules

BOTH_EXPORTERS = ("decoder", "llama", "recurrent", "unet")


def example(shape, rng):
    return rng.integers(0, 30, shape) if len(shape) == 2 else rng.standard_normal(shape).astype(np.float32)


def exported(name, dynamo, path):
    build, shapes, dynamic, _ = NETWORKS[name]
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)
    module = build().eval()
    inputs = tuple(torch.from_numpy(example(shape, np.random.default_rng(0))) for shape in shapes)
    names = [f"x{index}" for index in range(len(inputs))]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if dynamo:
            dims = tuple(dict.fromkeys(each, torch.export.Dim.DYNAMIC) for each in dynamic)
            torch.onnx.export(
                module,
                inputs,
                path,
                dynamo=True,
                input_names=names,
                dynamic_shapes=dims,
                verbose=False,
                external_data=False,
            )
        else:
            axes = dict(zip(names, dynamic, strict=True))
            file = io.BytesIO()
            torch.onnx.export(
                module, inputs, file, dynamo=False, opset_version=17, input_names=names, dynamic_axes=axes
            )
            onnx.save(onnx.load_model_from_string(file.getvalue()), path)


@pytest.mark.parametrize(
    "name, dynamo",
    [
        *((n, False) for n in NETWORKS if n != "decoder"),
        *(pytest.param(n, True, marks=pytest.mark.long) for n in BOTH_EXPORTERS),
    ],
)
def test_cuts_of_exported_networks(name, dynamo, tmp_path):
    path = tmp_path / "model.onnx"
    exported(name, dynamo, path)
    _, shapes, dynamic, expected = NETWORKS[name]
    rng = np.random.default_rng(1)
    larger = {"n": 3, "s": 23, "m": 13, "h": 32, "w": 24}
    wide = [
        tuple(larger.get(dims.get(i), size) for i, size in enumerate(shape))
        for shape, dims in zip(shapes, dynamic, strict=True)
    ]
    feeds = [{f"x{i}": example(shape, rng) for i, shape in enumerate(each)} for each in (shapes, wide)]
    if name == "recurrent":  # torch writes the example's length into the graph
        feeds = [feeds[0], {"x0": example((3, 10, 6), rng)}]
    model = load_model(path).model
    for simplified in (False, True):
        if simplified:
            apply_rules(model)
        groups, _, worst = halved(model, feeds)
        assert worst <= 1e-4
        every = shrunk(model, groups, half(groups, ("channel", "neuron", "head", "width")))
        run(every, feeds)
    found = sorted(f"{group.kind} {group.size}" for group in groups if not group.fixed.all())
    assert found == sorted(expected), [(group.name, group.reasons) for group in groups]
