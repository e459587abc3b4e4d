"""Scores and masks of large models wait where they take little memory, and come back as they were."""

import numpy as np

from compressctl.pruning.element_scores import Kept
from compressctl.pruning.sparse import Packed


def test_large_scores_lie_on_disk_and_come_back(tmp_path):
    large, small = np.random.default_rng(0).random((512, 512)), np.arange(3.0)
    kept = Kept([("large", large), ("small", small)], tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) >= large.nbytes
    assert list(kept) == ["large", "small"]
    np.testing.assert_array_equal(kept["large"], large)
    assert kept["small"] is small


def test_masks_come_back():
    masks = {"a": np.random.default_rng(1).random((5, 7)) < 0.5, "b": np.zeros((0, 3), bool), "c": np.array(True)}
    packed = Packed(masks.items())
    assert list(packed) == list(masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(packed[name], mask)
        assert packed[name].dtype == bool
