"""Images with masks: classes of pixels at the place of the image in the input, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from compressctl.data.notation import open_source
from compressctl.errors import DataError
from compressctl.tensorspec import TensorSpec

RNG = np.random.default_rng(0)
INPUTS = [TensorSpec("x", "float32", ("n", 3, 8, 8))]
MASK = RNG.integers(0, 3, (8, 8), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "set" / part).mkdir(parents=True)
    pixels = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for name in "ab":
        Image.fromarray(pixels).save(tmp_path / "set" / "images" / f"{name}.png")
        Image.fromarray(MASK).save(tmp_path / "set" / "masks" / f"{name}.png")
    return tmp_path / "set"


def test_masks_are_classes_of_pixels(folder):
    palette = Image.fromarray(MASK, "P")
    palette.putpalette(list(range(256)) * 3)
    palette.save(folder / "masks" / "b.png")
    (batch,) = open_source(str(folder), INPUTS).batches(4)
    np.testing.assert_array_equal(batch.labels, [MASK, MASK])
    (batch,) = open_source(f"{folder},ignore=2", INPUTS).batches(4)
    np.testing.assert_array_equal(batch.labels[0], np.where(MASK == 2, -1, MASK.astype(int)))
    (batch,) = open_source(f"{folder},ignore=0", INPUTS).batches(4)
    assert ((batch.labels[0] == -1) == (MASK == 0)).all()


def test_they_go_with_the_image(folder):
    wide = [TensorSpec("x", "float32", ("n", 3, 16, 32))]
    (batch,) = open_source(f"{folder},fit=letterbox", wide).batches(4)
    assert (batch.labels[0, :, :8] == -1).all() and (batch.labels[0, :, 24:] == -1).all()
    np.testing.assert_array_equal(batch.labels[0, :, 8:24], MASK.repeat(2, 0).repeat(2, 1))
    (batch,) = open_source(f"{folder},resize=16,crop=8", INPUTS).batches(4)
    np.testing.assert_array_equal(batch.labels[0], MASK.repeat(2, 0).repeat(2, 1)[4:12, 4:12])


def test_what_does_not_fit_is_named(folder):
    Image.fromarray(MASK[:6]).save(folder / "masks" / "b.png")
    with pytest.raises(DataError, match=r"masks/b\.png is 8x6, but its image is 8x8"):
        list(open_source(str(folder), INPUTS).batches(4))
    source = open_source(f"{folder},skip_broken=1", INPUTS)
    assert len(source) == 1 and "b.png is 8x6" in source.notes[0].text
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "masks" / "b.png")
    with pytest.raises(DataError, match=r"b\.png has 3 channels"):
        list(open_source(str(folder), INPUTS).batches(4))
    (folder / "masks" / "b.png").unlink()
    with pytest.raises(DataError, match=r"images/b\.png has no mask"):
        open_source(str(folder), INPUTS)
