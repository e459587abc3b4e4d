"""Every n-th sample against numpy's own slicing, whatever the batch."""

import tracemalloc

import numpy as np
import pytest
from sklearn.datasets import load_digits

from compressctl.data.notation import open_source
from compressctl.data.subset import every
from compressctl.errors import DataError
from compressctl.tensorspec import TensorSpec

X = np.random.default_rng(0).normal(size=(46, 3)).astype(np.float32)
INPUTS = [TensorSpec("x", "float32", ("batch", 3))]


def _all(source, batch_size):
    batches = list(source.batches(batch_size))
    rows = np.concatenate([batch.feeds["x"][: batch.count] for batch in batches])
    return rows, np.concatenate([batch.labels for batch in batches]), [batch.count for batch in batches]


@pytest.mark.parametrize(("held", "split"), [(True, "digits:test"), (False, "digits:train")])
def test_of_the_digits_it_is_the_built_in_split(held, split):
    specs = [TensorSpec("x", "float32", ("batch", 64))]
    part, expected = every(open_source("digits", specs), 5, held=held), open_source(split, specs)
    assert len(part) == len(expected)
    for own, other in zip(part.batches(64), expected.batches(64), strict=True):
        np.testing.assert_array_equal(own.feeds["x"], other.feeds["x"])
        np.testing.assert_array_equal(own.labels, other.labels)
    np.testing.assert_array_equal(_all(part, 64)[1], load_digits().target[(np.arange(1797) % 5 == 0) == held])


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_rows_and_labels(tmp_path, n, batch_size, held):
    np.savez(tmp_path / "d.npz", x=X, labels=np.arange(46))
    part = every(open_source(f"{tmp_path}/d.npz[:23]", INPUTS), n, held=held)
    rows = np.flatnonzero((np.arange(23) % n == 0) == held)
    for _ in range(2):  # a source can be read again
        x, labels, counts = _all(part, batch_size)
        np.testing.assert_array_equal(x, X[rows])
        np.testing.assert_array_equal(labels, rows)
        assert set(counts[:-1]) <= {batch_size} and len(part) == sum(counts)  # batches are full again


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 7, 64])
def test_pairs_stay_together(tmp_path, batch_size, held):
    score = np.linspace(0, 5, 23)
    np.savez(tmp_path / "d.npz", x=X, score=score)
    part = every(open_source(f"{tmp_path}/d.npz,labels=score,pairs=true", INPUTS), 5, held=held)
    pairs = np.flatnonzero((np.arange(23) % 5 == 0) == held)
    x, labels, counts = _all(part, batch_size)
    assert part.pairs and len(part) == 2 * len(pairs) == sum(counts)
    np.testing.assert_array_equal(x[0::2], X[:23][pairs])
    np.testing.assert_array_equal(x[1::2], X[23:][pairs])
    np.testing.assert_array_equal(labels, score[pairs])


def test_a_fixed_batch_is_filled_up(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, labels=np.arange(46))
    part = every(open_source(f"{tmp_path}/d.npz", [TensorSpec("x", "float32", (8, 3))]), 5, held=False)
    batches = list(part.batches(1))
    assert [batch.count for batch in batches] == [8, 8, 8, 8, 4]
    assert all(batch.feeds["x"].shape == (8, 3) for batch in batches)
    np.testing.assert_array_equal(batches[-1].feeds["x"][3:], np.repeat(X[44:45], 5, axis=0))


def test_lengths_that_change_do_not_share_a_batch(tmp_path, monkeypatch):
    (tmp_path / "ragged_rows.py").write_text(
        "import numpy as np\n"
        "def rows():\n"
        "    for length in (3, 3, 2):\n"
        "        yield {'x': np.full((4, length), length, np.float32)}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    specs = [TensorSpec("x", "float32", ("batch", "length"))]
    part = every(open_source("python:ragged_rows:rows", specs, allow_python=True), 2, held=True)
    assert [batch.feeds["x"].shape for batch in part.batches(3)] == [(3, 3), (1, 3), (2, 2)]


def test_notes_are_told_once_and_random_data_stay_unjudged():
    source = open_source("random:10", INPUTS)
    held, rest = every(source, 5, held=True), every(source, 5, held=False)
    assert held.notes == source.notes and [note.kind for note in rest.notes] == ["done"]
    assert not held.judgeable and not rest.judgeable and not held.has_labels
    assert (len(held), len(rest)) == (2, 8)


def test_a_single_sample_leaves_none_to_train_on(tmp_path):
    np.savez(tmp_path / "d.npz", x=X[:1])
    with pytest.raises(DataError, match="none is left to train on"):
        every(open_source(f"{tmp_path}/d.npz", INPUTS), 5, held=False)


def test_memory_holds_batches_not_the_file(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((20_000, 300), np.float32))  # 24 MB
    part = every(open_source(f"{tmp_path}/d.npz", [TensorSpec("x", "float32", ("n", 300))]), 5, held=False)
    tracemalloc.start()
    assert sum(batch.count for batch in part.batches(64)) == 16_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
