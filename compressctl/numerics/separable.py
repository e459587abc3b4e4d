"""Convolution kernels as sequences of cheaper ones: a column then a row, or a small kernel between 1x1 ones.

Both keep the kernel's geometry, so padding with zeros stays exact. `moments` are those of the windows
[channels * kernel], as im2col orders them; where they are None, the identity stands for them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compressctl.arrays import Array, Floats
from compressctl.numerics.low_rank import Components, RowMoments, components, factors, refit


class Separable(NamedTuple):
    """A kernel [outputs, channels, height, width] cut in two.

    Attributes:
        column: [rank, channels, height].
        row: [outputs, rank, width].
    """

    column: Floats
    row: Floats

    def kernel(self) -> Floats:
        """Return the kernel that both make, [outputs, channels, height, width]."""
        return np.asarray(np.einsum("rch,orw->ochw", self.column, self.row, optimize=True))


class Tucker(NamedTuple):
    """A kernel [outputs, channels, kernel] between two 1x1 ones.

    Attributes:
        first: [inner channels, channels].
        core: [inner outputs, inner channels, kernel].
        last: [outputs, inner outputs].
    """

    first: Floats
    core: Floats
    last: Floats

    def kernel(self) -> Floats:
        """Return the kernel that the three make, [outputs, channels, kernel]."""
        return np.asarray(np.einsum("pc,qpk,oq->ock", self.first, self.core, self.last, optimize=True))


def column_components(kernel: Array, moments: RowMoments | None = None) -> Components:
    """Return the components of `kernel` [outputs, channels, height, width] as a matrix of columns against rows.

    Source: Jaderberg et al. 2014, "Speeding up Convolutional Neural Networks with Low Rank Expansions", scheme 2; in
    closed form: Tai et al. 2016 (arXiv:1511.06067), section 3. The moments are those of a column, averaged over the
    columns of a window.
    """
    _, channels, height, width = kernel.shape
    if moments is not None:
        windows = moments.second.reshape(channels, height, width, channels, height, width)
        second = np.einsum("abxcdx->abcd", windows).reshape(channels * height, channels * height) / width
        mean = moments.mean.reshape(channels * height, width).mean(axis=1)
        moments = RowMoments(second, mean, moments.rows * width)
    return components(_rows_against_columns(kernel), moments)


def separable(kernel: Array, found: Components, rank: int, moments: RowMoments | None = None) -> Separable:
    """Return `kernel` [outputs, channels, height, width] by `rank` columns, and the rows that fit them best.

    Args:
        kernel: the kernel.
        found: its `column_components`.
        rank: 1 to min(channels * height, outputs * width).
        moments: of the windows; with them the rows are fitted to all that a window holds.
    """
    outputs, channels, height, width = kernel.shape
    up, down = factors(_rows_against_columns(kernel), found, rank)
    column = down.reshape(rank, channels, height)
    if moments is None:
        return Separable(column, np.moveaxis(up.reshape(outputs, width, rank), 1, 2))
    features = np.einsum("rch,xw->rxchw", column, np.eye(width)).reshape(rank * width, -1)
    return Separable(column, refit(kernel.reshape(outputs, -1), features, moments).reshape(outputs, rank, width))


def channel_components(kernel: Array, moments: RowMoments | None = None) -> Components:
    """Return the components of `kernel` [outputs, channels, kernel] as a matrix of its channels against the rest.

    The moments are those of the channels at one place, averaged over the places of a window.
    """
    _, channels, size = kernel.shape
    if moments is not None:
        windows = moments.second.reshape(channels, size, channels, size)
        second = np.einsum("axbx->ab", windows) / size
        moments = RowMoments(second, moments.mean.reshape(channels, size).mean(axis=1), moments.rows * size)
    return components(_rest_against_channels(kernel), moments)


def tucker(
    kernel: Array,
    inputs: Components,
    outputs: Components,
    ranks: tuple[int, int],
    moments: RowMoments | None = None,
) -> Tucker:
    """Return `kernel` [outputs, channels, kernel] by fewer inner channels and outputs (Tucker-2).

    Source: Kim et al. 2016, "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
    Applications" (arXiv:1511.06530); both sides by their components, then the core fitted to the windows.

    Args:
        kernel: the kernel.
        inputs: its `channel_components`.
        outputs: `components` of the kernel as [outputs, channels * kernel].
        ranks: (inner channels, inner outputs).
        moments: of the windows.
    """
    size, (inner, _) = kernel.shape[2], ranks
    matrix = kernel.reshape(len(kernel), -1)
    _, first = factors(_rest_against_channels(kernel), inputs, inner)
    last, target = factors(matrix, outputs, ranks[1])
    features = np.einsum("pc,xk->pxck", first, np.eye(size)).reshape(inner * size, -1)
    return Tucker(first, refit(target, features, moments).reshape(ranks[1], inner, size), last)


def _rows_against_columns(kernel: Array) -> Array:
    """[outputs * width, channels * height]."""
    outputs, channels, height, width = kernel.shape
    return kernel.transpose(0, 3, 1, 2).reshape(outputs * width, channels * height)


def _rest_against_channels(kernel: Array) -> Array:
    """[outputs * kernel, channels]."""
    return kernel.swapaxes(1, 2).reshape(-1, kernel.shape[1])
