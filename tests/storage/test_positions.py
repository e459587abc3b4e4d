"""Sparse forms in onnxruntime, against the dense tensors, and the bytes of their parts."""

import numpy as np
import pytest

from compressctl.storage.choice import forms, place
from compressctl.storage.positions import Rows
from compressctl.storage.survey import survey
from tests.storage.holding import made, model_of

RNG = np.random.default_rng(9)


def _sparse(shape, zeros, few=None):
    array = RNG.normal(size=shape) if few is None else RNG.normal(size=few)[RNG.integers(0, few, shape)]
    return np.where(RNG.random(shape) < zeros, 0, array).astype(np.float32)


def _stored(tmp_path, array, format_):
    model, seen = model_of(array), survey(array)
    place(model.graph, model.graph.initializers["w"], forms(model.graph, "w", seen)[format_], seen)
    result, left = made(model, tmp_path / "m.onnx", array.shape)
    np.testing.assert_array_equal(result.view(np.uint32), array.view(np.uint32))
    assert left == ["Reshape"]
    return {name: value.const_value for name, value in model.graph.initializers.items()}


def test_a_bit_an_element(tmp_path):
    array = _sparse((50, 33), 0.5)
    parts = _stored(tmp_path, array, "bitmask")
    assert parts["w_packed"].nbytes == -(-50 * 33 // 8)
    assert parts["w_values"].nbytes == 4 * np.count_nonzero(array)


@pytest.mark.parametrize(("zeros", "bits"), [(0.7, 4), (0.9, 6), (0.97, 8)])
def test_gaps_take_the_bits_that_pay(tmp_path, zeros, bits):
    array = _sparse((400, 400), zeros)
    seen = survey(array)
    found = forms(model_of(array).graph, "w", seen)["delta-index"]
    assert found.detail == f"{bits} bits"
    parts = _stored(tmp_path, array, "delta-index")
    stored = parts["w_values"].nbytes // 4
    assert stored >= np.count_nonzero(array)
    planes = sum(part.nbytes for name, part in parts.items() if name.startswith("w_packed"))
    assert abs(planes - stored * bits / 8) <= 2


def test_gaps_and_codes_are_deep_compression(tmp_path):
    array = _sparse((100, 100), 0.9, few=15)
    parts = _stored(tmp_path, array, "delta-index")
    assert sum(part.nbytes for name, part in parts.items() if name.startswith("w_packed")) < 1000 * 1.6
    assert parts["w_values"].nbytes in (60, 64)  # 15 values, and 0 where there are fillers


def test_far_values_are_reached_by_fillers(tmp_path):
    array = np.zeros((3000, 2), np.float32)
    array[[5, 2999], [1, 0]] = [1.5, -2.5]
    _stored(tmp_path, array, "delta-index")


@pytest.mark.parametrize(("width", "type_"), [(256, "UINT8"), (257, "UINT16"), (65537, "INT32")])
def test_columns_take_the_type_that_holds_them(tmp_path, width, type_):
    array = _sparse((3, width), 0.9)
    assert _stored(tmp_path, array, "csr")["w_columns"].dtype.name == type_


def test_rows_are_those_of_scipy():
    from scipy.sparse import csr_array

    array = _sparse((40, 9), 0.8)
    array[[0, 7, 8, 39]] = 0
    expected = csr_array(array)
    rows = Rows.of(np.flatnonzero(array).astype(np.int32), 9)
    np.testing.assert_array_equal(rows.columns, expected.indices)
    filled = np.flatnonzero(np.diff(expected.indptr))
    np.testing.assert_array_equal(rows.starts, expected.indptr[:-1][filled])
    np.testing.assert_array_equal(np.cumsum(rows.steps), filled * 9)


@pytest.mark.parametrize("format_", ["bitmask", "delta-index", "csr", "coo"])
def test_minus_zero_stays(tmp_path, format_):
    array = _sparse((30, 40), 0.6)
    array[::3, ::5] = -0.0
    _stored(tmp_path, array, format_)


def test_coo_is_the_sparse_initializer_of_the_standard(tmp_path):
    import onnx

    array = _sparse((30, 40), 0.9)
    _stored(tmp_path, array, "coo")
    graph = onnx.load(tmp_path / "m.onnx").graph
    (sparse,) = graph.sparse_initializer
    assert not graph.initializer and list(sparse.dims) == [30, 40]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(sparse.indices), np.flatnonzero(array))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(sparse.values), array[array != 0])
