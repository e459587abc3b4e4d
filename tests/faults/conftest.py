"""Small models for the commands that are disturbed."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compressctl.container.pack import pack
from compressctl.model.load import load_model
from compressctl.model.save import save_model
from tests.samples import MLP

RECIPE = "model: {}.onnx\noutput: out.onnx\npasses: [{{type: simplify}}, {{type: quantize, scheme: int8-dynamic}}]\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder of the models a and b, which differ in their weights, and the same packed and in recipes."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, factor in (("a", 1.0), ("b", 0.5)):
        model = onnx.load(MLP)
        for tensor in model.graph.initializer:
            if len(tensor.dims) == 2:
                array = numpy_helper.to_array(tensor) * np.float32(factor)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        onnx.save(model, folder / f"{name}.onnx")
        external = folder / name / "x.onnx"
        external.parent.mkdir()
        save_model(load_model(folder / f"{name}.onnx").model, external, overwrite=False, embed_limit=100)
        pack(external, folder / f"{name}.ccz")
        shutil.rmtree(external.parent)
        (folder / f"{name}.yaml").write_text(RECIPE.format(name))
    return folder
