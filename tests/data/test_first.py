"""The first samples against numpy's slices, with labels and in pairs, whatever the batch."""

import numpy as np
import pytest

from compressctl.data.first import First
from compressctl.data.notation import open_source
from compressctl.tensorspec import TensorSpec

X = np.random.default_rng(0).normal(size=(22, 3)).astype(np.float32)


@pytest.mark.parametrize("batch", ["batch", 4])
@pytest.mark.parametrize("count", [1, 7, 16, 22, 99])
def test_rows_with_and_without_labels(tmp_path, batch, count):
    np.savez(tmp_path / "d.npz", x=X, labels=np.arange(22))
    source = open_source(str(tmp_path / "d.npz"), [TensorSpec("x", "float32", (batch, 3))])
    for first in (First(source, count, labels=True), First(source, count)):
        batches = list(first.batches(5))
        rows = np.concatenate([one.feeds["x"][: one.count] for one in batches])
        np.testing.assert_array_equal(rows, X[:count])
        assert len(first) == len(rows)
        if first.has_labels:
            np.testing.assert_array_equal(np.concatenate([one.labels for one in batches]), np.arange(len(rows)))
        else:
            assert all(one.labels is None for one in batches)


@pytest.mark.parametrize("size", [1, 3, 4, 64])
def test_pairs_stay_whole(tmp_path, size):
    np.savez(tmp_path / "d.npz", x=X, labels=np.arange(11))
    source = open_source(f"{tmp_path}/d.npz,pairs=true", [TensorSpec("x", "float32", ("batch", 3))])
    first = First(source, 7, labels=True)
    batches = list(first.batches(size))
    assert len(first) == sum(one.count for one in batches) == 8 and all(one.pairs for one in batches)
    np.testing.assert_array_equal(np.concatenate([one.labels for one in batches]), np.arange(4))
    rows = np.concatenate([one.feeds["x"] for one in batches])
    np.testing.assert_array_equal(rows, np.stack([X[:11], X[11:]], axis=1).reshape(22, 3)[:8])
    assert not First(source, 7).pairs
