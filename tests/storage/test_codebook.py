"""Codebooks as onnxruntime reads them, and their bytes."""

import numpy as np
import pytest

from compressctl.storage.codebook import emit_codebook
from compressctl.storage.decoder import Decoder
from tests.storage.holding import made, model_of

RNG = np.random.default_rng(4)


def _stored(tmp_path, codes, values, shape):
    model = model_of(np.zeros(shape, values.dtype))
    decoder = Decoder(model.graph, "w")
    decoder.replace(model.graph.initializers["w"], emit_codebook(decoder, codes, values, shape))
    result, left = made(model, tmp_path / "m.onnx", shape)
    assert left == ["Reshape"]
    return result, {name: value.const_value for name, value in model.graph.initializers.items()}


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8"])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 17, 100, 256])
def test_values_by_codes(tmp_path, count, dtype):
    values = RNG.permutation(256)[:count].astype(np.uint8).view(np.int8).astype(dtype)
    codes = RNG.integers(0, count, (6, 5, 3)).astype(np.uint8)
    result, _ = _stored(tmp_path, codes, values, (6, 5, 3))
    np.testing.assert_array_equal(result, values[codes])


@pytest.mark.parametrize("width", [2, 4, 8])
def test_vectors_by_codes(tmp_path, width):
    values = RNG.normal(size=(10, width)).astype(np.float32)
    codes = RNG.integers(0, 10, 48).astype(np.uint8)
    result, stored = _stored(tmp_path, codes, values, (6, 8 * width))
    np.testing.assert_array_equal(result, values[codes].reshape(6, 8 * width))
    assert stored["w_packed"].nbytes == 24


@pytest.mark.parametrize(("count", "bytes_"), [(2, 15), (3, 24), (4, 30), (16, 60), (256, 120)])
def test_codes_are_packed(tmp_path, count, bytes_):
    values = RNG.normal(size=count).astype(np.float32)
    _, stored = _stored(tmp_path, np.arange(120) % count, values, (120,))
    assert stored["w_packed"].nbytes == bytes_


@pytest.mark.parametrize(("exact", "type_"), [(True, "FLOAT16"), (False, "FLOAT")])
def test_values_take_two_bytes_where_those_hold_them(tmp_path, exact, type_):
    values = RNG.normal(size=200).astype(np.float16 if exact else np.float32).astype(np.float32)
    codes = RNG.integers(0, 200, 500).astype(np.uint8)
    result, stored = _stored(tmp_path, codes, values, (500,))
    np.testing.assert_array_equal(result, values[codes])
    assert stored["w_values"].dtype.name == type_


@pytest.mark.parametrize("count", [2, 3, 5, 16, 17])
def test_large_constants_look_up_all_values_of_a_byte_at_once(tmp_path, count):
    shape = (3, 7, 8192)  # 2^17 elements and more
    values = RNG.normal(size=count).astype(np.float32)
    codes = RNG.integers(0, count, shape).astype(np.uint8)
    result, stored = _stored(tmp_path, codes, values, shape)
    np.testing.assert_array_equal(result, values[codes])
    digits = {2: 8, 3: 5, 5: 3, 16: 2}
    assert stored["w_values"].shape == ((count ** digits[count], digits[count]) if count in digits else (count,))
