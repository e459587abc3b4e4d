"""The digits against scikit-learn's own array."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from compressctl.data.notation import open_source
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

PIXELS, LABELS = load_digits(return_X_y=True)
TEST = np.arange(1797) % 5 == 0


def _input(*shape: int | str | None, dtype: str = "float32") -> list[TensorSpec]:
    return [TensorSpec("x", dtype, shape)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("digits", np.arange(1797)),
        ("digits:test", np.flatnonzero(TEST)),
        ("digits:train", np.flatnonzero(~TEST)),
        ("digits:train[-100::3]", np.flatnonzero(~TEST)[-100::3]),
    ],
)
def test_splits(text, rows):
    source = open_source(text, _input("n", 64))
    batches = list(source.batches(50))
    np.testing.assert_array_equal(
        np.concatenate([b.feeds["x"] for b in batches]), (PIXELS[rows] / 16).astype(np.float32)
    )
    np.testing.assert_array_equal(np.concatenate([b.labels for b in batches]), LABELS[rows])
    assert len(source) == len(rows) and source.has_labels


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (("n", 1, 8, 8), (1, 8, 8)),
        ((None, None, 8, 8), (1, 8, 8)),
        (("n", "c", "h", "w"), (1, 8, 8)),
        ((1, 8, 8, 1), (8, 8, 1)),
        (("n", "t", "f"), (8, 8)),
        (("n", "t", 4), (16, 4)),
        (("n", None), (64,)),
        (("n", 2, 32), (2, 32)),
    ],
)
def test_shapes(shape, expected):
    batch = next(open_source("digits", _input(*shape)).batches(1))
    assert batch.feeds["x"].shape == (1, *expected)
    np.testing.assert_array_equal(batch.feeds["x"].ravel(), (PIXELS[0] / 16).astype(np.float32))


@pytest.mark.parametrize(
    ("text", "inputs", "error", "message"),
    [
        ("digits:tset", _input("n", 64), UsageError, "no split 'tset'"),
        ("digits,size=8", _input("n", 64), UsageError, "unknown option 'size'"),
        ("digits[5000:]", _input("n", 64), DataError, "no samples"),
        ("digits", _input("n", 3, 32, 32), DataError, "64 values a sample"),
        ("digits", _input("n", None, None, None, 5), DataError, "64 values a sample"),
        ("digits", _input("n", 64, dtype="int64"), DataError, "type float32"),
        ("digits", [*_input("n", 64), TensorSpec("z", "float32", ("n",))], DataError, "the model has 2"),
    ],
)
def test_errors(text, inputs, error, message):
    with pytest.raises(error, match=message):
        open_source(text, inputs)
