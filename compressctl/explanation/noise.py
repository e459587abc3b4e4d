"""How far values are from a reference's: running sums, channel by channel, so that samples can be streamed."""

from __future__ import annotations

import math

import numpy as np

from compressctl.arrays import Array, Floats

_REGAINED = 10.0  # dB: no rounding gains as much by a factor a channel, equalization does
_OFF = 0.001  # noise over signal from which on channels may be said to carry other factors


class Noise:
    """Sums over a value b of the reference and its counterpart r, in float64.

    Args:
        axis: along which channels lie; None where they are not told apart.
    """

    def __init__(self, axis: int | None) -> None:
        self._axis = axis
        self._sums: Floats = np.zeros((4, 1))  # b², r², b r, (b - r)², of each channel

    def add(self, reference: Array, other: Array) -> bool:
        """Take in the values of a batch; return False, and take nothing in, where shapes differ or are no floats'."""
        if reference.shape != other.shape or not reference.dtype.kind == other.dtype.kind == "f":
            return False
        b, r = (_channels_first(array.astype(np.float64), self._axis) for array in (reference, other))
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.stack([np.einsum("ci,ci->c", x, y) for x, y in ((b, b), (r, r), (b, r), (b - r, b - r))])
        if self._sums.shape[1] != sums.shape[1] and self._sums.any():
            self._sums, sums = self._sums.sum(axis=1, keepdims=True), sums.sum(axis=1, keepdims=True)
        self._sums = self._sums + sums
        return True

    @property
    def ratio(self) -> float:
        """Noise over signal, sum (b - r)² / sum b²; 0 where both are equal, NaN where a value is not finite."""
        bb, _, _, noise = self._sums.sum(axis=1)
        return _ratio(noise, bb)

    def regained(self, known: bool = False) -> float | None:
        """Return the same after the best factor a channel was undone, or None where channels carry none of their own.

        Args:
            known: they do, so that it need not be seen.
        """
        bb, rr, br, _ = self._sums
        if self._sums.shape[1] < 2 or not (known or self.ratio > _OFF) or not math.isfinite(self.ratio):
            return None
        explained = np.divide(br**2, rr, out=np.zeros_like(rr), where=rr > 0)
        ratio = _ratio(float((bb - explained).clip(0).sum()), float(bb.sum()))
        return ratio if known or ratio * 10 ** (_REGAINED / 10) <= self.ratio else None


def decibels(ratio: float) -> float:
    """Return noise over signal as signal over noise in dB; infinite where there is no noise."""
    return math.inf if ratio == 0 else -math.inf if math.isinf(ratio) else -10 * math.log10(ratio)


def _ratio(noise: float, signal: float) -> float:
    if noise == 0:
        return 0.0
    return noise / signal if signal else math.inf


def _channels_first(array: Floats, axis: int | None) -> Floats:
    if axis is None or array.ndim < 2:
        return array.reshape(1, -1)
    moved = np.moveaxis(array, axis, 0)
    return moved.reshape(len(moved), -1)
