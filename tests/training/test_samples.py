"""Random access to streamed samples: every row once an epoch, the held-out ones never."""

import numpy as np
import pytest

from compressctl.errors import DataError
from compressctl.resources import Resources
from compressctl.training import samples as module
from compressctl.training.samples import TrainingSamples
from tests.training.tiny import Arrays, Pairs


def numbered(rows: int, **given) -> Arrays:
    """Return rows that hold their own number."""
    x = np.arange(rows, dtype=np.float32)[:, None].repeat(3, 1)
    return Arrays({"x": x, "ids": np.arange(rows)[:, None]}, np.arange(rows) * 10, **given)


def samples(source, folder, *, held_out=0.2, batch=8, seed=0, processes=1) -> TrainingSamples:
    resources = Resources(workdir=folder, seed=seed)
    return TrainingSamples(source, resources, held_out=held_out, batch=batch, processes=processes)


def test_every_training_row_comes_once_an_epoch_in_a_new_order(tmp_path):
    s = samples(numbered(100), tmp_path)
    assert len(s.held) == 20 and s.steps_per_epoch == 10
    epochs = [np.concatenate([s.rows(epoch * 10 + i) for i in range(10)]) for epoch in (0, 1)]
    for epoch in epochs:
        assert sorted([*epoch, *s.held]) == list(range(100))
    assert (epochs[0] != epochs[1]).any()


def test_a_step_is_reached_directly(tmp_path):
    (tmp_path / "a").mkdir()
    one, two = samples(numbered(100), tmp_path), samples(numbered(100), tmp_path / "a")
    in_order = [one.rows(step) for step in range(25)]
    np.testing.assert_array_equal(two.rows(23), in_order[23])
    np.testing.assert_array_equal(two.rows(3), in_order[3])


def test_rows_bring_their_own_feeds_and_labels(tmp_path):
    s = samples(numbered(100), tmp_path)
    rows = s.rows(4)
    batch = s.at(rows)
    np.testing.assert_array_equal(batch.feeds["x"][:, 0], rows)
    np.testing.assert_array_equal(batch.feeds["ids"][:, 0], rows)
    assert batch.feeds["x"].dtype == np.float32 and batch.feeds["ids"].dtype == np.int64
    np.testing.assert_array_equal(batch.labels, rows * 10)


def test_another_seed_holds_others_out(tmp_path):
    (tmp_path / "a").mkdir()
    assert (samples(numbered(100), tmp_path).held != samples(numbered(100), tmp_path / "a", seed=1).held).any()


def test_an_incomplete_last_batch_is_left_out(tmp_path):
    s = samples(numbered(100), tmp_path, batch=32)
    assert s.steps_per_epoch == 2 and len(s.rows(1)) == 32


def test_data_smaller_than_a_batch_are_one(tmp_path):
    s = samples(numbered(10), tmp_path, batch=64)
    assert s.steps_per_epoch == 1 and sorted([*s.rows(0), *s.held]) == list(range(10))


def test_a_fixed_batch_is_always_full(tmp_path):
    s = samples(numbered(7, batch=4), tmp_path, held_out=0.5, batch=64)
    assert s.batch == 4 and len(s.train) == 3
    assert len(s.rows(0)) == 4 and set(s.rows(0)) == set(s.train)
    ((rows, batch),) = s.held_batches(64)
    assert batch.count == 4 and list(rows) == list(s.held)
    five = samples(numbered(10, batch=4), tmp_path, held_out=0.5)
    (_, _), (rows, last) = five.held_batches(64)
    assert last.count == 1 and len(last.feeds["x"]) == 4 and set(rows) == {five.held[-1]} and len(last.labels) == 1


@pytest.mark.parametrize("size", [8, 5])
def test_pairs_stay_together_and_their_labels_come_with_their_end(tmp_path, size):
    x = np.arange(60, dtype=np.float32)[:, None]
    s = samples(Pairs({"x": x}, np.arange(30)), tmp_path)
    assert (s.held[0::2] % 2 == 0).all() and (s.held[1::2] == s.held[0::2] + 1).all()
    assert sorted([*s.train, *s.held]) == list(range(60))
    assert s.at(s.rows(0)).labels is None and not s.labelled
    batches = [batch for _, batch in s.held_batches(size)]
    assert all(batch.pairs for batch in batches)
    np.testing.assert_array_equal(np.concatenate([b.feeds["x"][:, 0] for b in batches]), s.held)
    np.testing.assert_array_equal(np.concatenate([b.labels for b in batches]), s.held[0::2] // 2)
    ended = np.cumsum([batch.count for batch in batches]) // 2
    assert list(np.cumsum([len(batch.labels) for batch in batches])) == list(ended)


def test_processes_share_batches_evenly(tmp_path):
    assert samples(numbered(100), tmp_path, batch=9, processes=2).batch == 8
    with pytest.raises(DataError, match="cannot be shared by 4 processes"):
        samples(numbered(100), tmp_path, batch=3, processes=4)


def test_one_sample_cannot_be_split(tmp_path):
    with pytest.raises(DataError, match="single sample"):
        samples(numbered(1), tmp_path)


def test_a_full_disk_is_found_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda folder: 100)
    with pytest.raises(DataError, match=r"100 decoded samples take .* where 0\.0 GiB are free .*slice"):
        samples(numbered(100), tmp_path)


def test_samples_of_two_sizes_are_refused(tmp_path):
    class Ragged(Arrays):
        def _read(self, size):
            yield {"x": np.zeros((4, 3), np.float32)}, None
            yield {"x": np.zeros((4, 5), np.float32)}, None

    source = Ragged({"x": np.zeros((8, 3), np.float32)})
    source.inputs = (type(source.inputs[0])("x", "float32", ("N", "L")),)
    with pytest.raises(DataError, match="3 and 5 cannot be trained on together"):
        samples(source, tmp_path)


def test_pairs_stay_together(tmp_path):
    x = np.arange(40, dtype=np.float32)[:, None]
    samples = TrainingSamples(Pairs({"x": x}), Resources(workdir=tmp_path), held_out=0.1, batch=7)
    rows = np.concatenate([samples.rows(step) for step in range(samples.steps_per_epoch)])
    assert samples.batch == 6 and (rows[0::2] + 1 == rows[1::2]).all() and (rows[0::2] % 2 == 0).all()
    assert [len(held) for held, _ in samples.held_batches(3)] == [2, 2]
