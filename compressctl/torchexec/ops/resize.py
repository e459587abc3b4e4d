"""Resize: one axis after the other, each output element a weighted sum of a few input elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.errors import ModelError
from compressctl.torchexec.ops.common import Ints, axes_of, column, ints


@dataclass(frozen=True)
class _Rule:
    """The attributes of a Resize."""

    mode: str
    coordinates: str
    nearest: str
    cubic_a: float
    antialias: bool
    exclude_outside: bool


@dataclass(frozen=True)
class _Axis:
    """How one axis is resized: its number, sizes, scale, and the part of it that tf_crop_and_resize reads."""

    axis: int
    size: int
    wanted: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)


def Resize(
    X: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Ints | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    over = axes_of(axes, X.ndim)
    have = [X.shape[axis] for axis in over]
    factors: list[float]
    if sizes is not None:
        wanted = ints(sizes)
        factors = [w / size for w, size in zip(wanted, have, strict=True)]
        if keep_aspect_ratio_policy != "stretch":
            factor = (min if keep_aspect_ratio_policy == "not_larger" else max)(factors)
            factors = [factor] * len(over)
            wanted = [math.floor(size * factor + 0.5) for size in have]
    elif scales is not None:
        factors = [float(factor) for factor in scales.tolist()]
        wanted = [math.floor(size * factor) for size, factor in zip(have, factors, strict=True)]
    else:
        raise ModelError("Resize needs scales or sizes")
    rule = _Rule(
        mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(antialias), bool(exclude_outside)
    )
    corners = roi.tolist() if roi is not None and rule.coordinates == "tf_crop_and_resize" else None
    resized = []
    for i, (axis, size, want, factor) in enumerate(zip(over, have, wanted, factors, strict=True)):
        part = (corners[i], corners[i + len(over)]) if corners else (0.0, 1.0)
        if corners or want != size or factor != 1:
            resized.append(_Axis(axis, size, want, factor, part))
    native = _native(rule, X, resized)
    if native is not None:
        return F.interpolate(X, [one.wanted for one in resized], **native)
    y = X if X.is_floating_point() or mode == "nearest" else X.to(torch.float32)
    for one in resized:
        y = _resized(y, one, rule)
    for one in resized if corners else ():
        beyond = [x < 0 or x > one.size - 1 for x in _coordinates(one, rule)]
        mask = column(torch.tensor(beyond, device=X.device), one.axis, X.ndim)
        y = torch.where(mask, torch.full_like(y, extrapolation_value), y)
    return y.to(X.dtype)


def Upsample(X: Tensor, scales: Tensor, *, mode: str = "nearest") -> Tensor:
    return Resize(X, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def _native(rule: _Rule, x: Tensor, resized: Sequence[_Axis]) -> dict[str, Any] | None:
    """Return the keywords of `F.interpolate` where it computes the same: all spatial axes, scales of whole sizes."""
    rank = x.ndim - 2
    spatial = [one.axis for one in resized] == list(range(2, x.ndim))
    if not 1 <= rank <= 3 or not spatial or not x.is_floating_point() or rule.antialias or rule.exclude_outside:
        return None
    if any(one.scale * one.size != one.wanted for one in resized):
        return None
    half = rule.coordinates in ("half_pixel", "half_pixel_symmetric") or (
        rule.coordinates == "pytorch_half_pixel" and all(one.wanted > 1 for one in resized)
    )
    corners = rule.coordinates == "align_corners" and all(one.wanted > 1 for one in resized)
    if rule.mode == "nearest":
        repeats = all(one.wanted % one.size == 0 for one in resized)
        floor = rule.coordinates == "asymmetric" and rule.nearest == "floor"
        return {"mode": "nearest"} if repeats and (floor or (half and rule.nearest.startswith("round"))) else None
    if rule.mode == "linear" and (half or corners):
        return {"mode": ("linear", "bilinear", "trilinear")[rank - 1], "align_corners": corners}
    if rule.mode == "cubic" and rank == 2 and rule.cubic_a == -0.75 and (half or corners):
        return {"mode": "bicubic", "align_corners": corners}
    return None


def _coordinates(one: _Axis, rule: _Rule) -> list[float]:
    """Return where in the input each output element lies."""
    size, scale, length = one.size, one.scale, one.scale * one.size
    positions = range(one.wanted)
    if rule.coordinates == "asymmetric":
        return [i / scale for i in positions]
    if rule.coordinates == "align_corners":
        return [0.0 if length == 1 else i * (size - 1) / (length - 1) for i in positions]
    if rule.coordinates == "tf_crop_and_resize":
        first, last = one.roi
        if length == 1:
            return [(first + last) * (size - 1) / 2 for _ in positions]
        return [first * (size - 1) + i * (last - first) * (size - 1) / (length - 1) for i in positions]
    if rule.coordinates == "pytorch_half_pixel" and length == 1:
        return [-0.5 for _ in positions]
    centred = size / 2 * (1 - one.wanted / length) if rule.coordinates == "half_pixel_symmetric" else 0.0
    return [centred + (i + 0.5) / scale - 0.5 for i in positions]


def _resized(x: Tensor, one: _Axis, rule: _Rule) -> Tensor:
    taps = [_taps(place, one, rule) for place in _coordinates(one, rule)]
    y: Tensor | None = None
    for k in range(len(taps[0])):
        index = torch.tensor([min(max(tap[k][0], 0), one.size - 1) for tap in taps], device=x.device)
        read = torch.index_select(x, one.axis, index)
        if rule.mode == "nearest":
            return read
        weight = torch.tensor([tap[k][1] for tap in taps], dtype=x.dtype, device=x.device)
        term = read * column(weight, one.axis, x.ndim)
        y = term if y is None else y + term
    assert y is not None
    return y


def _taps(place: float, one: _Axis, rule: _Rule) -> list[tuple[int, float]]:
    """Return (index, weight) of the input elements that make up the output element which lies at `place`."""
    if rule.mode == "nearest":
        return [(_ROUNDINGS[rule.nearest](place), 1.0)]
    stretch = min(one.scale, 1.0) if rule.antialias else 1.0
    support = (2 if rule.mode == "cubic" else 1) / stretch
    left = math.floor(place)
    reach = math.ceil(support)
    taps = [(i, _kernel(abs(i - place) * stretch, rule)) for i in range(left - reach + 1, left + reach + 1)]
    if rule.exclude_outside:
        taps = [(i, weight if 0 <= i < one.size else 0.0) for i, weight in taps]
    if rule.exclude_outside or rule.antialias:
        total = sum(weight for _, weight in taps)
        taps = [(i, weight / total) for i, weight in taps]
    return taps


def _kernel(distance: float, rule: _Rule) -> float:
    if rule.mode == "linear":
        return max(1 - distance, 0.0)
    a = rule.cubic_a  # Keys 1981
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance**2 + 1
    return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a if distance < 2 else 0.0


_ROUNDINGS = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}
