"""Mean average precision of detections from what each was found to be, on resamples of the images.

What is known of an image is a row of int32 numbers [width, 4], padded with -1 where there is nothing:

| column | what |
|---|---|
| 0 | score of a detection: the bits of a float32 |
| 1 | its class |
| 2 | bit t: it is right at threshold t; bit 10 + t: it counts neither way |
| 3 | class of a box that is to be found, one a line, beside the detections and apart from them |
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats, Integers

THRESHOLDS = 10
"""Intersections over union from which a detection is right: .5, .55, …, .95."""

_RECALLS = np.linspace(0.0, 1.0, 101)  # where precision is read off, as COCO does
_CELLS = 1 << 22  # resampled detections held at a time


def mean_average_precision(images: Array, indices: Integers, thresholds: int = THRESHOLDS) -> Floats:
    """Return the mean over classes and thresholds of average precision, on R resamples, [R].

    It is that of COCO: precision, made to fall with recall, is read off at 101 recalls; classes of which there is
    nothing to be found do not count. A resample is a weight for each image, so that detections are sorted once.

    Args:
        images: int32 [N, width, 4].
        indices: [R, N], entries below N.
        thresholds: the first ones that count; 1 is mAP@.5.
    """
    count = len(images)
    flat = indices + count * np.arange(len(indices))[:, None]
    weights = np.bincount(flat.ravel(), minlength=count * len(indices)).reshape(len(indices), count)
    owner = np.broadcast_to(np.arange(count)[:, None], images.shape[:2])
    wanted, found = images[..., 3], images[..., 1]
    totals = np.zeros((len(indices),))
    classes_there = np.zeros((len(indices),))
    for kind in np.unique(wanted[wanted >= 0]):
        truths = np.bincount(owner[wanted == kind], minlength=count)
        positives = weights @ truths
        chosen = found == kind
        scores = images[..., 0][chosen].view(np.float32)
        order = np.argsort(-scores, kind="stable")
        there = positives > 0
        precision = _of_class(
            weights[there], positives[there], owner[chosen][order], images[..., 2][chosen][order], thresholds
        )
        totals[there] += precision
        classes_there += there
    with np.errstate(invalid="ignore"):
        return np.asarray(totals / classes_there)


def _of_class(weights: Array, positives: Array, owner: Array, flags: Array, thresholds: int) -> Floats:
    """Return the mean over thresholds of average precision, [R], given detections from the best on."""
    rows = max(1, _CELLS // max(1, len(owner)))
    parts = [
        _average(weights[start : start + rows][:, owner], positives[start : start + rows], flags, thresholds)
        for start in range(0, len(weights), rows)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _average(weights: Array, positives: Array, flags: Array, thresholds: int) -> Floats:
    needed = _needed(positives)
    total, all_seen = np.zeros(len(weights)), np.cumsum(weights, axis=1)
    for threshold in range(thresholds):
        counts = flags >> (THRESHOLDS + threshold) & 1 == 0
        right = np.flatnonzero((flags >> threshold & 1 == 1) & counts)
        if right.size:
            seen = (all_seen if counts.all() else np.cumsum(weights * counts, axis=1))[:, right]
            total += _interpolated(np.cumsum(weights[:, right], axis=1), seen, needed).mean(axis=1)
    return total / thresholds


def _needed(positives: Array) -> Integers:
    """Return the least number of right detections that make each recall, [R, 101]."""
    many = positives[:, None].astype(np.float64)
    least = np.ceil(_RECALLS * many)
    least = np.where((least - 1) / many >= _RECALLS, least - 1, least)
    return np.where(least / many < _RECALLS, least + 1, least).astype(np.int64)


def _interpolated(right: Array, seen: Array, needed: Integers) -> Floats:
    """Return precision at each recall, [R, 101], given how many of those seen so far were right; both [R, T]."""
    precision = right / (seen + np.spacing(1))
    falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    rows, width = right.shape
    apart = (int(max(needed.max(), right.max())) + 1) * np.arange(rows)[:, None]
    place = np.searchsorted((right + apart).ravel(), (needed + apart).ravel()).reshape(needed.shape)
    place -= width * np.arange(rows)[:, None]
    read = np.take_along_axis(falling, np.minimum(place, width - 1), axis=1)
    return np.where(place < width, read, 0.0)
