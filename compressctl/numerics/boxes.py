"""Boxes in images: corners, overlap, and the suppression of those that overlap better ones."""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats, Integers

_APART = 7680.0  # pixels between the boxes of two classes, more than images have; as Ultralytics does


def corners(centred: Array) -> Floats:
    """Return boxes [..., 4] of centre and size (cx, cy, w, h) as corners (x1, y1, x2, y2)."""
    boxes = centred.astype(np.float64)
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def suppress(boxes: Floats, scores: Array, classes: Array, *, overlap: float, most: int) -> Integers:
    """Return which boxes are kept, best first: none overlaps a better one of its class by more than `overlap`.

    Args:
        boxes: [M, 4], corners in pixels.
        scores: [M].
        classes: [M].
        overlap: intersection over union up to which both are kept.
        most: boxes that are kept at most.
    """
    x1, y1, x2, y2 = (boxes + classes[:, None] * _APART).T
    areas = (x2 - x1) * (y2 - y1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size and len(kept) < most:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        both = np.maximum(width, 0) * np.maximum(height, 0)
        order = rest[both <= overlap * (areas[best] + areas[rest] - both)]
    return np.array(kept, np.int64)
