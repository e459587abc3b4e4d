"""The forms in which a layer's weight can be written as a product, each of any rank.

- svd: outputs x rank times rank x inputs. A convolution becomes one with fewer outputs, then a 1x1 one (Zhang et al.
  2016, "Accelerating Very Deep Convolutional Networks", arXiv:1505.06798).
- spatial: a column of the kernel, then a row (Jaderberg et al. 2014).
- tucker: 1x1, the kernel between fewer channels, 1x1 (Kim et al. 2016, Tucker-2).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from compressctl.arrays import Array, Floats, Floats32
from compressctl.choices import FactorMethod, FactorMethodOrAuto
from compressctl.layers.linear import LinearLayer
from compressctl.numerics.low_rank import Components, RowMoments, components, factors, relative_error
from compressctl.numerics.separable import channel_components, column_components, separable, tucker

Ranks = tuple[int, ...]
Shape = tuple[int, ...]

MULTIPLE = 16  # of channels, in which float kernels compute


@dataclass(frozen=True, eq=False)
class Factors:
    """A weight as a product.

    Attributes:
        method: the form.
        ranks: of the products: one, or the inner channels and the inner outputs of tucker.
        weights: of the layers in the place of the one, first to last, in the type and order that they are stored in.
        error: mean squared error of the outputs over their variance, on the calibration samples or, without any, on
            inputs of no correlation; 0 is exact.
    """

    method: FactorMethod
    ranks: Ranks
    weights: tuple[Array, ...]
    error: float

    @property
    def size(self) -> int:
        """Number of elements of all factors."""
        return sum(weight.size for weight in self.weights)


class Factorization(ABC):
    """One form of one layer's weight; `moments` of its input rows, or None."""

    method: ClassVar[FactorMethod]

    def __init__(self, layer: LinearLayer, moments: RowMoments | None) -> None:
        self.layer = layer
        self.moments = moments
        self.matrix = layer.matrix()[0]
        self.kernel = _kernel(layer)

    @property
    @abstractmethod
    def modes(self) -> tuple[Components, ...]:
        """The components that each rank keeps some of."""

    @abstractmethod
    def shapes(self, ranks: Ranks) -> tuple[Shape, ...]:
        """Return the shapes of the factors, as those of convolutions [outputs, inputs, *kernel]."""

    @abstractmethod
    def build(self, ranks: Ranks) -> Factors:
        """Return the factors of these ranks."""

    @property
    def full(self) -> Ranks:
        """The ranks of which nothing is lost."""
        return tuple(len(mode.energies) for mode in self.modes)

    def ranks_for_energy(self, energy: float) -> Ranks:
        """Return the fewest ranks, as multiples of 16, that hold this share of the energy; modes share what is lost."""
        share = 1 - (1 - energy) / len(self.modes)
        return tuple(min(_up(mode.rank_for(share)), full) for mode, full in zip(self.modes, self.full, strict=True))

    def ranks_for_ratio(self, ratio: float) -> Ranks | None:
        """Return the highest ranks, as multiples of 16, of at most this share of the weight's elements, if any."""
        largest = max(self.full)
        for step in range(largest // MULTIPLE, 0, -1):
            ranks = tuple(min(_up(full * step * MULTIPLE / largest), full) for full in self.full)
            if sum(map(math.prod, self.shapes(ranks))) <= ratio * self.matrix.size:
                return ranks
        return None

    def _finish(self, ranks: Ranks, weights: Sequence[Floats], product: Floats) -> Factors:
        """Round the factors to the weight's type; `product` is what they make, [outputs, inputs]."""
        error = relative_error(self.matrix, product, self.moments)
        stored = (np.ascontiguousarray(weight.astype(self.layer.stored.dtype)) for weight in weights)
        return Factors(self.method, ranks, tuple(stored), error)


class Svd(Factorization):
    """A layer of fewer outputs, then one that makes all outputs of those."""

    method = "svd"

    @cached_property
    def modes(self) -> tuple[Components, ...]:
        """The components of the outputs."""
        return (components(self.matrix, self.moments),)

    def shapes(self, ranks: Ranks) -> tuple[Shape, ...]:
        """[rank, inputs, *kernel] and [outputs, rank, 1, …]."""
        outputs, inputs = self.matrix.shape
        size = math.prod(self.kernel)
        return (ranks[0], inputs // size, *self.kernel), (outputs, ranks[0], *(1,) * len(self.kernel))

    def build(self, ranks: Ranks) -> Factors:
        """Return `down`, then `up`, each transposed where the weight is stored so."""
        up, down = factors(self.matrix, self.modes[0], ranks[0])
        if self.kernel:
            weights = [matrix.reshape(shape) for matrix, shape in zip((down, up), self.shapes(ranks), strict=True)]
        else:
            weights = [down.T, up.T] if self.layer.inputs_first else [down, up]
        return self._finish(ranks, weights, up @ down)


class Spatial(Factorization):
    """A column, then a row, of a kernel of two axes."""

    method = "spatial"

    @cached_property
    def modes(self) -> tuple[Components, ...]:
        """The components of rows against columns."""
        return (column_components(self._weight, self.moments),)

    def shapes(self, ranks: Ranks) -> tuple[Shape, ...]:
        """[rank, channels, height, 1] and [outputs, rank, 1, width]."""
        outputs, channels, height, width = self._weight.shape
        return (ranks[0], channels, height, 1), (outputs, ranks[0], 1, width)

    def build(self, ranks: Ranks) -> Factors:
        """Return the column and the row."""
        cut = separable(self._weight, self.modes[0], ranks[0], self.moments)
        return self._finish(
            ranks, [cut.column[..., None], cut.row[:, :, None]], cut.kernel().reshape(self.matrix.shape)
        )

    @property
    def _weight(self) -> Floats32:
        return np.asarray(self.matrix.reshape(len(self.matrix), -1, *self.kernel))


class Tucker(Factorization):
    """A 1x1 convolution to fewer channels, the kernel from these to fewer outputs, and a 1x1 to all outputs."""

    method = "tucker"

    @cached_property
    def modes(self) -> tuple[Components, ...]:
        """The components of the channels, and of the outputs."""
        return channel_components(self._weight, self.moments), components(self.matrix, self.moments)

    def shapes(self, ranks: Ranks) -> tuple[Shape, ...]:
        """Those of the 1x1, the inner and the other 1x1 convolution; `ranks` are (inner channels, inner outputs)."""
        outputs, channels, _ = self._weight.shape
        ones = (1,) * len(self.kernel)
        return (ranks[0], channels, *ones), (ranks[1], ranks[0], *self.kernel), (outputs, ranks[1], *ones)

    def build(self, ranks: Ranks) -> Factors:
        """Return the three kernels."""
        channels, outputs = self.modes
        cut = tucker(self._weight, channels, outputs, (ranks[0], ranks[1]), self.moments)
        weights = [weight.reshape(shape) for weight, shape in zip(cut, self.shapes(ranks), strict=True)]
        return self._finish(ranks, weights, cut.kernel().reshape(self.matrix.shape))

    @property
    def _weight(self) -> Floats32:
        return np.asarray(self.matrix.reshape(len(self.matrix), -1, math.prod(self.kernel)))


def forms(layer: LinearLayer, moments: RowMoments | None, method: FactorMethodOrAuto) -> tuple[Factorization, ...]:
    """Return the forms to try for `layer`: for "auto" all that it has, else `method`, or svd where that is none."""
    kernel = _kernel(layer)
    kinds: dict[FactorMethod, type[Factorization]] = {"svd": Svd}
    if math.prod(kernel) > 1:
        kinds["tucker"] = Tucker
    if len(kernel) == 2 and min(kernel) > 1:
        kinds["spatial"] = Spatial
    chosen = kinds.values() if method == "auto" else [kinds.get(method, Svd)]
    return tuple(kind(layer, moments) for kind in chosen)


def _kernel(layer: LinearLayer) -> Shape:
    return layer.weight_shape[2:] if layer.node.op_type == "Conv" else ()


def _up(rank: float) -> int:
    return MULTIPLE * math.ceil(rank / MULTIPLE)
