"""Integers times scales, as onnxruntime makes them of the stored form, against numpy."""

import numpy as np
import pytest

from compressctl.storage.affine import Affine, emit_affine
from compressctl.storage.decoder import Decoder
from tests.storage.holding import made, model_of

GROUPED = (6, 4, 5)  # rows, groups, weights of a group


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("offset", [False, True], ids=["symmetric", "offset"])
@pytest.mark.parametrize("levels", [2, 3, 4, 5, 8, 16, 32, 100])
def test_stored_weights_are_what_numpy_makes_of_them_and_cost_no_node(tmp_path, levels, offset, half):
    rng = np.random.default_rng(levels)
    codes = rng.integers(0, levels, GROUPED).astype(np.uint8)
    scale = rng.uniform(0.5, 2, (6, 4, 1)).astype(np.float16 if half else np.float32)
    shift = rng.normal(size=scale.shape).astype(scale.dtype) if offset else None
    weight = Affine(codes, levels, -(levels // 2), scale, (6, 20), shift)
    expected = (codes.astype(np.float32) - levels // 2) * scale.astype(np.float32)
    expected = (expected + shift.astype(np.float32) if offset else expected).reshape(6, 20)
    np.testing.assert_array_equal(weight.floats(), expected)
    model = model_of(np.zeros((6, 20), np.float32))
    decoder = Decoder(model.graph, "w")
    decoder.replace(model.graph.initializers["w"], emit_affine(decoder, weight))
    result, left = made(model, tmp_path / "m.onnx", expected.shape)
    np.testing.assert_array_equal(result, expected)
    assert left == ["Reshape"]


def test_signs_are_one_bit_each(tmp_path):
    codes = np.random.default_rng(0).integers(0, 2, (16, 9)).astype(np.uint8)
    scale = np.linspace(1, 2, 16, dtype=np.float32)[:, None]
    weight = Affine(codes, 2, -1, scale, (16, 9), step=2)
    model = model_of(np.zeros((16, 9), np.float32))
    decoder = Decoder(model.graph, "w")
    decoder.replace(model.graph.initializers["w"], emit_affine(decoder, weight))
    result, left = made(model, tmp_path / "m.onnx", codes.shape)
    np.testing.assert_array_equal(result, np.where(codes, 1, -1) * scale)
    assert left == ["Reshape"]
    assert model.graph.initializers["w_packed"].const_value.nbytes == 18


def test_decoders_share_their_tables():
    model = model_of(np.zeros((4, 4), np.float32))
    decoder = Decoder(model.graph, "w")
    first = decoder.shared("table", np.arange(3))
    assert decoder.shared("table", np.arange(3)) is first
    assert decoder.shared("table", np.arange(4)) is not first
