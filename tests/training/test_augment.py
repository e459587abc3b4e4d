"""Flips and crops: what moves, by how much, and that draws repeat."""

import numpy as np
import pytest

from compressctl.errors import UsageError
from compressctl.training.augment import Augmentation

RNG = np.random.default_rng(0)


def vary(kind: str, images: np.ndarray, key=(0, 2, 5)) -> np.ndarray:
    augment = Augmentation((kind,), {"x": images.shape[1:]})
    return augment({"x": images}, key, len(images), slice(0, len(images)))["x"]


@pytest.mark.parametrize(("shape", "width"), [((64, 3, 8, 10), 3), ((64, 8, 10, 3), 2)])
def test_flip_mirrors_about_half_of_the_images_left_and_right(shape, width):
    x = RNG.standard_normal(shape).astype(np.float32)
    y = vary("flip", x)
    mirrored = [np.array_equal(a, np.flip(b, width - 1)) for a, b in zip(y, x, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(y, x, strict=True)]
    assert all(np.logical_xor(mirrored, same)) and 16 < sum(mirrored) < 48


def test_crop_shifts_by_up_to_an_eighth_and_fills_with_zeros():
    x = RNG.standard_normal((200, 1, 16, 24)).astype(np.float32)
    y = vary("crop", x)
    found = set()
    for before, after in zip(x[:, 0], y[:, 0], strict=True):
        padded = np.pad(before, ((2, 2), (3, 3)))
        places = [
            (down, right)
            for down in range(5)
            for right in range(7)
            if np.array_equal(after, padded[down : down + 16, right : right + 24])
        ]
        assert len(places) == 1
        found.add(places[0])
    assert {down for down, _ in found} == set(range(5)) and {right for _, right in found} == set(range(7))


def test_draws_depend_on_seed_and_step_alone():
    x = RNG.standard_normal((16, 3, 8, 8)).astype(np.float32)
    before = x.copy()
    assert np.array_equal(vary("crop", x), vary("crop", x))
    assert not np.array_equal(vary("crop", x), vary("crop", x, (0, 2, 6)))
    assert not np.array_equal(vary("crop", x), vary("crop", x, (1, 2, 5)))
    assert np.array_equal(x, before)


def test_parts_of_a_batch_vary_as_the_whole():
    x = RNG.standard_normal((16, 3, 8, 8)).astype(np.float32)
    augment = Augmentation(("flip", "crop"), {"x": x.shape[1:]})
    whole = augment({"x": x}, (0, 0), 16, slice(0, 16))["x"]
    parts = [augment({"x": x[p]}, (0, 0), 16, p)["x"] for p in (slice(0, 8), slice(8, 16))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_what_is_no_image_stays():
    x, ids = RNG.standard_normal((16, 3, 8, 8)).astype(np.float32), np.arange(16)[:, None]
    augment = Augmentation(("flip",), {"x": x.shape[1:], "ids": (1,)})
    assert augment({"x": x, "ids": ids}, (0, 0), 16, slice(0, 16))["ids"] is ids


def test_inputs_or_labels_that_do_not_suit_are_refused():
    with pytest.raises(UsageError, match=r"augment: flip needs images \[N, C, H, W\], the inputs are x \[N, 64\]"):
        Augmentation(("flip",), {"x": (64,)})
    with pytest.raises(UsageError, match="augment: crop would not vary the labels"):
        Augmentation(("crop",), {"x": (3, 8, 8)}, (8, 8))
    assert not Augmentation((), {"x": (64,)})
