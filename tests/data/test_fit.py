"""Which arrays fit which inputs: casts against numpy, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressctl.data.fit import cast, check, nonfinite_row
from compressctl.errors import DataError
from compressctl.tensorspec import TensorSpec


def _spec(dtype: str, *shape: int | str | None) -> TensorSpec:
    return TensorSpec("x", dtype, shape)


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ("float64", "float32"),
        ("float16", "float32"),
        ("float32", "float16"),
        (">f4", "float32"),
        ("int32", "int64"),
        ("int64", "int32"),
        ("uint8", "float32"),
        ("bool", "int64"),
        ("bool", "float32"),
        ("int64", "bool"),
    ],
)
def test_casts_that_keep_the_values(have, want):
    array = np.array([[0, 1], [1, 0]]).astype(have)
    check(array.shape, array.dtype, _spec(want, "n", 2), "a")
    result = cast(array, _spec(want, "n", 2), "a")
    assert result.dtype == np.dtype(want) and result.flags.c_contiguous
    np.testing.assert_array_equal(result, array.astype(want))


@pytest.mark.parametrize(
    ("have", "want"),
    [("float32", "int64"), ("int64", "float32"), ("float64", "bool"), ("U3", "float32"), ("c8", "float32")],
)
def test_types_that_do_not_fit(have, want):
    with pytest.raises(DataError, match="does not fit the model's input x:nx2"):
        check((3, 2), np.dtype(have), _spec(want, "n", 2), "a")


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 2, 1), ()])
def test_shapes_that_do_not_fit(shape):
    with pytest.raises(DataError, match="shape"):
        check(shape, np.dtype("float32"), _spec("float32", 8, 2), "a")


def test_dynamic_dimensions_take_any_size():
    check((3, 7, 9), np.dtype("float32"), _spec("float32", 8, None, "width"), "a")


@pytest.mark.parametrize("dtype", ["string", "bfloat16", "complex64", "nonsense"])
def test_inputs_that_cannot_be_fed(dtype):
    with pytest.raises(DataError, match="no data source can feed"):
        check((1, 2), np.dtype("float32"), _spec(dtype, "n", 2), "a")


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["int8", "uint8", "int32", "uint32", "uint64"]))
def test_integers_are_kept_or_refused(value, want):
    array = np.array([0, value], np.int64)
    info = np.iinfo(want)
    if info.min <= value <= info.max:
        np.testing.assert_array_equal(cast(array, _spec(want, "n"), "a").astype(object), array.astype(object))
    else:
        with pytest.raises(DataError, match=f"cannot hold {value}"):
            cast(array, _spec(want, "n"), "a")


def test_an_integer_that_is_no_bool():
    with pytest.raises(DataError, match="cannot hold 2"):
        cast(np.array([0, 2]), _spec("bool", "n"), "a")


def test_the_first_row_that_is_not_finite():
    array = np.zeros((5, 2, 2), np.float32)
    assert nonfinite_row(array) is None
    array[3, 1, 0] = np.inf
    array[4] = np.nan
    assert nonfinite_row(array) == (3, np.inf)
    assert nonfinite_row(np.zeros((2, 2), np.int64)) is None
    assert nonfinite_row(cast(np.array([[1e30]]), _spec("float16", "n", 1), "a")) == (0, np.inf)
