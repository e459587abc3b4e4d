"""Labels of several boxes an image, as one array: [images, 2 + most, 6].

Images have different numbers of boxes. So that labels stay an array that is cut and joined as any, each image has as
many rows as the one with the most boxes, of 6 numbers each:

| row | numbers |
|---|---|
| 0 | width and height of the image in pixels, width and height of what the model is fed, 0, 0 |
| 1 | how the former lies in the latter: factor across, factor down, offset across, offset down, 0, 0 |
| from 2 on | class, x1, y1, x2, y2 in pixels of the image, and 1 where it is a crowd (neither to be found nor missed) |

Rows that are left over are -1. With row 1, boxes that a model gives are judged in pixels of the image as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Floats

_HEAD = 2
_COLUMNS = 6
NONE = -1.0  # in rows without a box


@dataclass(frozen=True)
class Frame:
    """Where an image lies in what the model is fed; sizes are (width, height), in pixels.

    Attributes:
        image: its own size.
        fed: that of the model's input.
        scale, offset: x of the input is `scale[0] * x + offset[0]` of the image, and y likewise.
    """

    image: tuple[int, int]
    fed: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    @property
    def content(self) -> tuple[float, float]:
        """The size that the image has in the input."""
        return self.scale[0] * self.image[0], self.scale[1] * self.image[1]

    def back(self, boxes: Floats) -> Floats:
        """Return boxes [M, 4] (x1, y1, x2, y2) of the input in pixels of the image."""
        return np.asarray((boxes - (*self.offset, *self.offset)) / (*self.scale, *self.scale))


@dataclass(frozen=True)
class Truth:
    """What is to be found in an image.

    Attributes:
        frame: of the image.
        boxes: [K, 6], as rows of labels are.
    """

    frame: Frame
    boxes: Floats


def pack(truths: Sequence[Truth], most: int) -> Floats:
    """Return labels [images, 2 + most, 6] of images with `most` boxes at most."""
    labels = np.full((len(truths), _HEAD + most, _COLUMNS), NONE)
    for label, truth in zip(labels, truths, strict=True):
        frame = truth.frame
        label[0] = (*frame.image, *frame.fed, 0, 0)
        label[1] = (*frame.scale, *frame.offset, 0, 0)
        label[_HEAD : _HEAD + len(truth.boxes)] = truth.boxes
    return labels


def unpack(labels: Array) -> list[Truth]:
    """Return what `pack` was given."""
    return [_truth(label) for label in labels.astype(np.float64)]


def are_boxes(labels: Array) -> bool:
    """Return whether labels have the shape of those of boxes."""
    return labels.ndim == 3 and labels.shape[1] >= _HEAD and labels.shape[2] == _COLUMNS


def _truth(label: Floats) -> Truth:
    width, height, across, down = label[0, :4]
    frame = Frame((int(width), int(height)), (int(across), int(down)), tuple(label[1, :2]), tuple(label[1, 2:4]))
    boxes = label[_HEAD:]
    return Truth(frame, boxes[boxes[:, 0] != NONE])
