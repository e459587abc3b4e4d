"""Sampling images at given places, regions of interest, and boxes."""

from __future__ import annotations

import math
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import Ints, column, ints, number

_GRID_MODES = {"linear": "bilinear", "cubic": "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}


def GridSample(
    X: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    return F.grid_sample(X, grid, _GRID_MODES.get(mode, mode), padding_mode, bool(align_corners))


def AffineGrid(theta: Tensor, size: Ints, *, align_corners: int = 0) -> Tensor:
    return F.affine_grid(theta, ints(size), bool(align_corners))


def RoiAlign(
    X: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    opset: int = 16,
) -> Tensor:
    # Before opset 16 there was no attribute, and no shift by half a pixel.
    half = coordinate_transformation_mode == "half_pixel" and opset >= 16
    boxes = rois * spatial_scale - (0.5 if half else 0.0)
    outs = (output_height, output_width)
    pooled = []
    for box, image in zip(boxes.unbind(0), torch.index_select(X, 0, batch_indices).unbind(0), strict=True):
        starts, spans = box[:2].flip(0), (box[2:] - box[:2]).flip(0)
        if not half:
            spans = torch.clamp(spans, min=1.0)
        counts = [sampling_ratio or max(math.ceil(span.item() / out), 1) for span, out in zip(spans, outs, strict=True)]
        terms = image
        for axis, (out, count) in enumerate(zip(outs, counts, strict=True)):
            steps = (torch.arange(out * count, device=X.device, dtype=X.dtype) + 0.5) / count
            terms = _neighbours(terms, starts[axis] + steps * spans[axis] / out, axis + 1)
        terms = terms.reshape(-1, output_height, 2 * counts[0], output_width, 2 * counts[1])
        # By the specification's reference, the maximum is that of the weighted neighbours, not of their sums.
        pooled.append(terms.sum((2, 4)) / prod(counts) if mode == "avg" else terms.amax((2, 4)))
    return torch.stack(pooled) if pooled else X.new_zeros([0, X.shape[1], *outs])


def NonMaxSuppression(
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Any = None,
    iou_threshold: Any = None,
    score_threshold: Any = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    most = 0 if max_output_boxes_per_class is None else int(number(max_output_boxes_per_class))
    overlap = 0.0 if iou_threshold is None else float(number(iou_threshold))
    least = -math.inf if score_threshold is None else float(number(score_threshold))
    selected: list[list[int]] = []
    for batch, corners in enumerate(_corners(boxes, center_point_box)):
        for kind, row in enumerate(scores[batch]):
            values, left = torch.sort(row, descending=True, stable=True)
            left = left[values > least]
            for _ in range(most):
                if not left.numel():
                    break
                best, left = left[0], left[1:]
                selected.append([batch, kind, int(best.item())])
                left = left[_overlaps(corners[best], corners[left]) <= overlap]
    return torch.tensor(selected, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _neighbours(image: Tensor, places: Tensor, axis: int) -> Tensor:
    """Return both neighbours of each place on an axis, times their weights in linear interpolation."""
    size = image.shape[axis]
    inside = (places >= -1) & (places <= size)
    low = torch.clamp(places.detach().floor().to(torch.int64), 0, size - 1)
    share = torch.where(low == size - 1, torch.zeros_like(places), torch.clamp(places, min=0) - low)
    weights = torch.stack([1 - share, share], -1) * inside[:, None]
    index = torch.stack([low, torch.clamp(low + 1, max=size - 1)], -1)
    return torch.index_select(image, axis, index.flatten()) * column(weights.flatten(), axis, image.ndim)


def _corners(boxes: Tensor, center_point_box: int) -> Tensor:
    """Return (lower, upper) corners, [..., 2, 2]."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if center_point_box:
        first, second = first - second / 2, first + second / 2
    return torch.stack([torch.minimum(first, second), torch.maximum(first, second)], -2)


def _overlaps(box: Tensor, others: Tensor) -> Tensor:
    """Return intersection over union of a box and each of others, all given by their corners."""
    sides = torch.minimum(box[1], others[:, 1]) - torch.maximum(box[0], others[:, 0])
    common = torch.clamp(sides, min=0).prod(-1)
    union = (box[1] - box[0]).prod() + (others[:, 1] - others[:, 0]).prod(-1) - common
    return torch.where(common > 0, common / union, torch.zeros_like(common))
