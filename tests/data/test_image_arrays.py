"""Images in arrays: other layouts and bytes are noticed, and told how to be fed."""

import numpy as np
import pytest

from compressctl.data.notation import open_source
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

IMAGES = np.random.default_rng(0).integers(0, 256, size=(4, 6, 5, 3), dtype=np.uint8)
NCHW = [TensorSpec("image", "float32", ("n", 3, 6, 5))]
NHWC = [TensorSpec("image", "float32", ("n", 6, 5, 3))]


@pytest.fixture
def opened(tmp_path):
    def _opened(array, options, inputs=NCHW):
        np.savez(tmp_path / "x.npz", image=array)
        return open_source(f"{tmp_path / 'x.npz'}{options}", inputs)

    return _opened


def test_channels_that_are_last_are_told_and_moved(opened):
    with pytest.raises(DataError) as caught:
        opened(IMAGES, "")
    assert "layout=nhwc" in caught.value.hint
    source = opened(IMAGES, ",layout=nhwc")
    np.testing.assert_array_equal(source.first(4)["image"], IMAGES.transpose(0, 3, 1, 2).astype(np.float32))
    with pytest.raises(DataError) as caught:
        opened(IMAGES.transpose(0, 3, 1, 2), "", NHWC)
    assert "layout=nchw" in caught.value.hint
    source = opened(IMAGES.transpose(0, 3, 1, 2), "[1:3],layout=nchw", NHWC)
    np.testing.assert_array_equal(source.first(2)["image"], IMAGES[1:3].astype(np.float32))


def test_bytes_for_floats_are_noticed(opened):
    (note,) = opened(IMAGES, ",layout=nhwc").notes
    assert note.kind == "warning" and note.node == "image" and "scale=1/255" in note.text
    assert not opened(IMAGES.astype(np.float32), ",layout=nhwc").notes
    assert not opened(IMAGES, "", [TensorSpec("image", "uint8", ("n", 6, 5, 3))]).notes


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("scale=1/255", lambda x: x / 255),
        ("norm=imagenet", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("mean=1/2/3,scale=1", lambda x: x - [1, 2, 3.0]),
        ("std=2", lambda x: x / 255 / 2),
    ],
)
def test_pixels_are_scaled_as_those_of_folders(options, expected, opened):
    source = opened(IMAGES, f",layout=nhwc,{options}")
    assert not source.notes
    wanted = np.moveaxis(expected(IMAGES.astype(np.float64)), -1, 1)
    np.testing.assert_allclose(source.first(4)["image"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ([*NCHW, TensorSpec("size", "float32", ("n", 2))], "norm=imagenet", "norm is for images"),
        (NCHW, "norm=imagenet,mean=1", "sets mean and std already"),
        (NCHW, "layout=chwn", "one of nchw, nhwc"),
    ],
)
def test_options_of_images_that_do_not_fit(inputs, options, message, tmp_path):
    np.savez(tmp_path / "x.npz", image=IMAGES, size=np.zeros((4, 2), np.float32))
    with pytest.raises(UsageError, match=message):
        open_source(f"{tmp_path / 'x.npz'},{options}", inputs)
