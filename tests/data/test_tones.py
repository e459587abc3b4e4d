"""Tones in noise: the same clips each time, with as much noise as is said."""

import numpy as np
import pytest

from compressctl.data.notation import open_source
from compressctl.data.tones import draw_clip
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

WAVE = [TensorSpec("x", "float32", ("n", 1, 1024))]


def test_clips_are_drawn_by_their_number():
    source = open_source("tones:train[3:9:2]", WAVE)
    first, second = source.batches(2)
    assert len(source) == 3 and first.feeds["x"].shape == first.labels.shape == (2, 1, 1024)
    noisy, clean = draw_clip((0, 7))
    np.testing.assert_array_equal(second.feeds["x"][0, 0], noisy)
    np.testing.assert_array_equal(second.labels[0, 0], clean)
    (flat,) = open_source("tones:test[:1]", [TensorSpec("x", "float32", ("n", 1024))]).batches(4)
    np.testing.assert_array_equal(flat.feeds["x"][0], draw_clip((1, 0))[0])


def test_noise_is_0_to_10_db_below():
    drawn = [draw_clip((1, number)) for number in range(50)]
    ratios = [10 * np.log10((clean**2).sum() / ((noisy - clean) ** 2).sum()) for noisy, clean in drawn]
    assert -0.5 < min(ratios) < 2 and 8 < max(ratios) < 10.5
    assert max(np.abs(clean).max() for _, clean in drawn) <= 1


def test_what_is_no_tones_is_refused():
    with pytest.raises(UsageError, match="tones have no split 'val'"):
        open_source("tones:val", WAVE)
    with pytest.raises(DataError, match="does not fit the model's input"):
        open_source("tones", [TensorSpec("x", "float32", ("n", 1, 900))])
