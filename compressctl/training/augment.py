"""Random variations of images, which depend on seed and step alone, so that a resumed run repeats them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from compressctl.arrays import Array, Floats
from compressctl.data.source import Feeds
from compressctl.errors import UsageError

_SHIFT = 8  # crops shift by up to this part of the size
_COLOURS = (1, 3)


class Augmentation:
    """Flips and crops of the inputs that are images: of four dimensions, with 1 or 3 channels behind the batch or last.

    Args:
        kinds: "flip" mirrors left and right with a chance of one half; "crop" pads with zeros (of the fed, normalised
            values) by an eighth of the size on each side and cuts the old size out at random.
        inputs: input name -> shape of a sample, without the batch; several images of a sample vary alike.
        labels: shape of a sample's label, or None; labels that are images would have to vary too.

    Raises:
        UsageError: no input is an image, or labels are.
    """

    def __init__(
        self, kinds: Sequence[str], inputs: Mapping[str, Sequence[int]], labels: Sequence[int] | None = None
    ) -> None:
        self.kinds = frozenset(kinds)
        self._images = {name: axes for name, shape in inputs.items() if (axes := _spatial(shape)) is not None}
        if kinds and not self._images:
            shapes = ", ".join(f"{name} {['N', *shape]}" for name, shape in inputs.items()).replace("'", "")
            raise UsageError(f"augment: {kinds[0]} needs images [N, C, H, W], the inputs are {shapes}", "leave it out")
        if kinds and labels is not None and sum(size > 1 for size in labels) > 1:
            shape = "x".join(map(str, labels))
            raise UsageError(f"augment: {kinds[0]} would not vary the labels ({shape}) with the images", "leave it out")

    def __bool__(self) -> bool:
        return bool(self.kinds)

    def __call__(self, feeds: Feeds, key: Sequence[int], total: int, part: slice) -> Feeds:
        """Return varied copies of a batch.

        Args:
            feeds: the rows `part` of a batch of `total` rows.
            key: what the draws depend on: seed and step.
            total: rows of the whole batch, for all of which draws are made.
            part: the rows at hand.
        """
        rng = np.random.default_rng(key)
        flips = rng.random(total)[part] < 0.5
        shifts = rng.random((total, 2))[part] * 2 - 1
        varied = dict(feeds)
        for name, axes in self._images.items():
            images = varied[name].copy()
            if "flip" in self.kinds:
                images[flips] = np.flip(images[flips], axes[1])
            varied[name] = _cropped(images, axes, shifts) if "crop" in self.kinds else images
        return varied


def _spatial(sample: Sequence[int]) -> tuple[int, int] | None:
    """Return the axes of height and width in a batch of samples [C, H, W] or [H, W, C], None of other shapes."""
    if len(sample) != 3:
        return None
    if sample[0] in _COLOURS:
        return 2, 3
    return (1, 2) if sample[2] in _COLOURS else None


def _cropped(images: Array, axes: tuple[int, int], shifts: Floats) -> Array:
    """Shift each image by its share (-1 to 1) of an eighth of the size down and right; zeros move in."""
    margins = [images.shape[axis] // _SHIFT for axis in axes]
    widths = [(0, 0)] * 4
    for axis, margin in zip(axes, margins, strict=True):
        widths[axis] = (margin, margin)
    padded = np.pad(images, widths)
    offsets = np.rint(shifts * margins).astype(int) + margins
    result = np.empty_like(images)
    for row, starts in enumerate(offsets):
        window = [slice(None)] * 3
        for axis, start in zip(axes, starts, strict=True):
            window[axis - 1] = slice(start, start + images.shape[axis])
        result[row] = padded[row][tuple(window)]
    return result
