"""Changing the sampling rate of a signal by a ratio of whole numbers."""

from __future__ import annotations

import math

import numpy as np

from compressctl.arrays import Array, Floats

_ZERO_CROSSINGS = 10  # of the sinc on each side, at the lower of the two rates
_KAISER = 5.0
_AT_ONCE = 1 << 16  # samples of the result


def resample(signal: Array, rate: int, to: int) -> Floats:
    """Return a signal [samples, …] at another rate, [ceil(samples * to / rate), …].

    A polyphase filter of a sinc in a Kaiser window (beta 5, ten zero crossings a side), cut off at half the lower rate:
    what `scipy.signal.resample_poly` computes by default. Beyond its ends the signal is zero.

    Args:
        signal: the samples, along the first axis.
        rate, to: samples a second, before and after.
    """
    common = math.gcd(rate, to)
    up, down = to // common, rate // common
    if up == down:
        return np.asarray(signal, np.float64)
    most = max(up, down)
    half = _ZERO_CROSSINGS * most
    taps = np.sinc(np.arange(-half, half + 1) / most) * np.kaiser(2 * half + 1, _KAISER)
    taps *= up / taps.sum()
    behind = len(taps) // up + 1
    phases = np.zeros((behind, up))
    phases.reshape(-1)[: len(taps)] = taps  # [k, phase] weighs the sample k before
    padded = np.pad(np.asarray(signal, np.float64), [(behind, behind), *[(0, 0)] * (signal.ndim - 1)])
    count = -(-len(signal) * up // down)
    result = np.empty((count, *signal.shape[1:]))
    for start in range(0, count, _AT_ONCE):
        places = np.arange(start, min(start + _AT_ONCE, count)) * down + half
        read = places[:, None] // up - np.arange(behind) + behind
        inside = np.clip(read, 0, len(padded) - 1)
        result[start : start + len(places)] = np.einsum("nk...,nk->n...", padded[inside], phases[:, places % up].T)
    return result
