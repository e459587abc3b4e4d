"""Every lossless form gives the same bits in onnxruntime, and takes as many bytes in the file as was told."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.model.save import save_model
from compressctl.storage.choice import forms, place, smallest
from compressctl.storage.survey import survey
from tests.storage.holding import made, model_of


def _graph_bytes(model, folder: Path) -> int:
    save_model(model, folder / "size.onnx", overwrite=True)
    return onnx.load(folder / "size.onnx").graph.ByteSize()


def _bits(array):
    return array.view(np.dtype(f"u{array.itemsize}"))


SHAPES = st.sampled_from([(7,), (64, 9), (40, 3, 3, 3), (1, 500), (16, 300), (3, 66000), (300, 1)])
TYPES = st.sampled_from(["float32", "float16", "float64", "int8", "uint8", "int32", "int64"])


@st.composite
def arrays(draw):
    shape, dtype = draw(SHAPES), np.dtype(draw(TYPES))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    few = draw(st.sampled_from([1, 2, 3, 16, 17, 200, 255, 256, 257, 10**6]))
    values = rng.normal(size=few) if dtype.kind == "f" else rng.integers(-100 * (dtype.kind == "i"), 100, few)
    if dtype.kind == "f" and draw(st.booleans()):
        values = values.astype(draw(st.sampled_from(["float16", "float32"])))
    array = values[rng.integers(0, few, shape)].astype(dtype)
    if dtype.kind == "f" and draw(st.booleans()):
        array.reshape(-1)[:3] = [-0.0, np.inf, np.finfo(dtype).smallest_subnormal]
    if draw(st.booleans()) and array.size % 4 == 0:
        rows = rng.integers(0, min(draw(st.integers(1, 300)), array.size // 4), array.size // 4)
        array = array.reshape(-1, 4)[rows].reshape(shape)
    array[rng.random(shape) < draw(st.sampled_from([0, 0.02, 0.5, 0.9, 0.99, 1]))] = 0
    if draw(st.booleans()):
        array[: len(array) // 2] = 0  # rows without values, and far gaps
    return array


@pytest.mark.parametrize("examples", [6, pytest.param(60, marks=pytest.mark.long)])
def test_every_form_is_exact_and_of_the_size_told(examples):
    settings(max_examples=examples, deadline=None)(given(arrays())(hold_every_form))()


def hold_every_form(array):
    seen = survey(array)
    with TemporaryDirectory() as folder:
        found = forms(model_of(array).graph, "w", seen)
        assert smallest(found).bytes == min(form.bytes for form in found.values())
        for format_, form in found.items():
            model = model_of(array)
            before = _graph_bytes(model, Path(folder))
            place(model.graph, model.graph.initializers["w"], form, seen)
            after = _graph_bytes(model, Path(folder))
            result, left = made(model, Path(folder) / "m.onnx", array.shape)
            np.testing.assert_array_equal(_bits(result), _bits(array), err_msg=format_)
            assert left == ["Reshape"], format_
            assert after - before == form.bytes - found["dense"].bytes, format_
