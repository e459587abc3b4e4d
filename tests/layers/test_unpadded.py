"""Sequences without their padding: cut where the model gives the same, and only there."""

import numpy as np
import pytest

from compressctl.data.notation import open_source
from compressctl.layers.unpadded import feeds, padding_mask
from compressctl.model.load import interface
from tests import graphs

random = graphs.Random(3)
TABLE = {"table": random(11, 4), "w": random(4, 4), "axis": np.array([1]), "last": np.array([2])}
LENGTHS = np.array([3, 7, 1, 7, 2, 12, 5, 1, 4, 2])
MASKED = """e = Gather(table, ids) h = MatMul(e, w) f = Cast <to = 1> (attention_mask) m = Unsqueeze(f, last)
    g = Mul(h, m) s = ReduceSum <keepdims = 0> (g, axis) c = ReduceSum(f, axis) y = Div(s, c)"""
HEEDLESS = """e = Gather(table, ids) h = MatMul(e, w) f = Cast <to = 1> (attention_mask)
    c = ReduceSum <keepdims = 0> (f, axis)
    s = ReduceMean <axes = [1], keepdims = 0> (h) u = Unsqueeze(c, axis) y = Add(s, u)"""


def _read(folder, body, *, left=False):
    mask = np.arange(12) < LENGTHS[:, None]
    mask = (mask[:, ::-1] if left else mask).astype(np.int64)
    ids = (np.arange(mask.size).reshape(mask.shape) % 10 + 1) * mask
    np.savez(folder / "x.npz", ids=ids, attention_mask=mask)
    model = graphs.model(body, TABLE, "int64[N, T] ids, int64[N, T] attention_mask", "float[N, 4] y")
    return model, open_source(str(folder / "x.npz"), interface(model)[0]), ids


def test_samples_of_like_length_are_cut_to_the_longest(tmp_path, resources):
    model, source, ids = _read(tmp_path, MASKED)
    mask = padding_mask(model, source, resources)
    assert mask is not None
    assert mask.name == "attention_mask"
    batches = list(feeds(source, 2, mask))
    assert len(batches) < len(ids) / 2
    for batch in batches:
        assert batch["ids"].shape == batch["attention_mask"].shape
        assert batch["ids"].size <= 2 * 12
        assert batch["attention_mask"].any(axis=0).all()
    rows = [tuple(row[row > 0]) for batch in batches for row in batch["ids"]]
    assert sorted(rows) == sorted(tuple(row[row > 0]) for row in ids)


@pytest.mark.parametrize(("body", "left"), [(HEEDLESS, False), (MASKED, True)])
def test_padding_stays_where_it_counts(tmp_path, resources, body, left):
    """The mean of all places is another without the padded ones; what is padded in front is left alone."""
    model, source, ids = _read(tmp_path, body, left=left)
    assert padding_mask(model, source, resources) is None
    np.testing.assert_array_equal(np.concatenate([batch["ids"] for batch in feeds(source, 4, None)]), ids)
