"""Cluster the weights of layers so that their outputs change little: layer after layer, on samples without labels.

The weights start from where least squares puts them, which makes up for the layers before. Single weights are rounded
to centroids as GPTQ rounds to integers: column by column, those to come making up for it. Then the centroids move to
where the layer's output is closest with every weight's cluster as it is; and all of that a second time.

Sources: Frantar et al. 2022, GPTQ (arXiv:2210.17323); Stock et al. 2020 (arXiv:1907.05686) for centroids that keep
outputs rather than weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Bytes, Floats, Floats32, Mask
from compressctl.clustering.codebook import Codebook, fit_codebook
from compressctl.data.first import First
from compressctl.data.source import Source
from compressctl.layers.layerwise import Fit, refit_layers
from compressctl.layers.linear import LinearLayer
from compressctl.numerics.gptq import gptq
from compressctl.numerics.kmeans import nearest
from compressctl.numerics.obs import damped, refit, settle
from compressctl.numerics.shared_fit import fit_values
from compressctl.resources import Resources

_DAMPING = 0.01
_ROUNDS = 2


@dataclass(frozen=True)
class ObservedSamples:
    """The samples that layers are observed on.

    Attributes:
        source: the samples; labels are not needed.
        count: use at most this many, the first.
        resources: to observe them with.
    """

    source: Source
    count: int
    resources: Resources


def reconstruct(
    model: ir.Model,
    layers: Sequence[LinearLayer],
    books: Mapping[str, Codebook],
    samples: ObservedSamples,
    *,
    clusters: int,
    vector: int,
) -> dict[str, float]:
    """Cluster the weights of layers in place, and move biases, so that each layer keeps its output.

    Args:
        model: the model.
        layers: of its main graph; none may share its weight.
        books: by name of the layer, the codebook that its single weights must take; others get one of their own.
        samples: what to observe them on.
        clusters: of the layers' own codebooks.
        vector: weights of a vector; layers of several groups must then not be among `layers`.

    Returns:
        the error of each layer's output, by its name: see `fit_layers`.

    Raises:
        ModelError, DataError: as `fit_layers`.
    """

    def solve(layer: LinearLayer, group: int, fit: Fit) -> Floats:
        moments = damped(fit.moments, _DAMPING)
        optimum = refit(fit.target, fit.moments, fit.weight, damping=_DAMPING)
        zeros = fit.weight == 0
        if zeros.any():
            optimum = settle(fit.weight, optimum, moments)
        if vector > 1:
            return _vectors(layer, optimum, moments, clusters, vector, samples.resources.seed)
        if layer.name in books:
            return _single(optimum, moments, books[layer.name], zeros, moves=False)
        heavy = np.broadcast_to(np.diag(moments), optimum.shape)
        own = fit_codebook(lambda: [(optimum.astype(np.float32), heavy)], clusters)
        return _single(optimum, moments, own, zeros, moves=True)

    return refit_layers(model, layers, First(samples.source, samples.count), solve, samples.resources)


@dataclass(frozen=True, eq=False)
class _Values:
    """The values that `gptq` rounds to, with 0 as number 0 before them where zeros stay."""

    ascending: Floats32
    zero: bool

    def codes(self, rows: Array) -> Bytes:
        return nearest(rows.astype(np.float32), self.ascending) + np.uint8(self.zero)

    def values(self, codes: Bytes) -> Floats32:
        return np.append(np.zeros(int(self.zero), np.float32), self.ascending)[codes]


def _single(optimum: Floats, moments: Floats, book: Codebook, zeros: Mask, *, moves: bool) -> Floats:
    """Return the best of what rounding, and moving the centroids if they may, gives in each round."""
    values = _Values(book.rows[:, 0], book.zero)
    best, least = optimum, np.inf
    for _ in range(_ROUNDS if moves else 1):
        codes, _rounding = gptq(optimum, moments, lambda _: values, fixed=zeros if book.zero else None)  # noqa: B023
        tried = [values.values(codes)]
        if moves:
            numbers = codes.astype(np.int64) - book.zero
            moved = fit_values(optimum, moments, numbers, values.ascending).astype(np.float32)
            tried.append(_Values(moved, book.zero).values(codes))
            values = _Values(np.sort(moved), book.zero)
        for weight in tried:
            off = optimum - weight
            error = float(((off @ moments) * off).sum())
            if error < least:
                best, least = weight.astype(np.float64), error
    return best


def _vectors(layer: LinearLayer, optimum: Floats, moments: Floats, clusters: int, vector: int, seed: int) -> Floats:
    """Return the weight with vectors at their nearest centroids, which then move."""
    stored = layer.restore(optimum[None]).astype(np.float32)
    heavy = layer.restore(np.broadcast_to(np.diag(moments), optimum.shape)[None]).astype(np.float32)
    book = fit_codebook(lambda: [(stored, heavy)], clusters, vector=vector, seed=seed)
    codes = book.codes(stored, heavy)[:, None].astype(np.int64)
    numbers = np.where(codes >= 0, codes * vector + np.arange(vector), -1).reshape(stored.shape)
    places = layer.matrix(numbers)[0].astype(np.int64)  # float32 holds them exactly
    values = fit_values(optimum, moments, places, book.rows.reshape(-1))
    return np.where(places >= 0, values[places], 0)
