"""Matrices as products of thin ones, of least error on the inputs that they are multiplied with.

The error of W' in the place of W [outputs, inputs] on rows x with second moments M = E[x x^T] is
E|W x - W' x|^2 = trace((W - W') M (W - W')^T). Among the matrices of rank r, U U^T W has the least, where the columns
of U are the r leading eigenvectors of W M W^T: the principal components of the outputs. This is the singular value
decomposition of the whitened W M^(1/2), without a root or an inverse, so that M may be singular; where M is not given
it is the identity, and this is the plain singular value decomposition.

Errors are given as shares of the variance of the outputs. Their mean does not count: otherwise a single component would
seem to keep activations that hardly vary.

Sources: Eckart and Young 1936; DRONE, Chen et al. 2021 (NeurIPS), section 3; SVD-LLM, Wang et al. 2024
(arXiv:2403.07378), section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compressctl.arrays import Array, Floats

_DAMPING = 0.01
_RIDGE = 1e-7  # of the mean of a diagonal: float32 holds no more


@dataclass(frozen=True, eq=False)
class RowMoments:
    """First and second moments of rows.

    Attributes:
        second: E[x x^T], [..., inputs, inputs], symmetric and positive semidefinite.
        mean: E[x], [..., inputs].
        rows: how many they were taken over.
    """

    second: Floats
    mean: Floats
    rows: int

    @property
    def silent(self) -> bool:
        """Whether they tell nothing of the inputs: there were no rows, or zeros alone."""
        return not self.second.any()

    def shrunk(self) -> RowMoments:
        """Return them moved towards uncorrelated inputs, the more the fewer rows there are an input.

        Otherwise directions that the rows happen not to span could be dropped at no cost. The diagonal grows by 1 % of
        its mean (as in GPTQ, Frantar et al. 2022, arXiv:2210.17323), times inputs / rows.
        """
        inputs = self.mean.shape[-1]
        share = _DAMPING * inputs / self.rows
        diagonal = np.mean(np.diagonal(self.second, axis1=-2, axis2=-1), axis=-1)
        return replace(self, second=self.second + share * diagonal[..., None, None] * np.eye(inputs))


@dataclass(frozen=True, eq=False)
class Components:
    """The principal components of a layer's outputs.

    Attributes:
        energies: [components] mean squared output along each, descending: squared singular values where there are no
            moments.
        directions: [outputs, components] of length 1 and orthogonal.
        variance: of the outputs, summed over them: what energies are shares of.
    """

    energies: Floats
    directions: Floats
    variance: float

    def tail(self) -> Floats:
        """Return [components + 1]: the share of the energy that is lost when the first 0, 1, 2, … are kept.

        Where the outputs have a mean, the first ones may exceed 1.
        """
        lost = np.append(np.cumsum(self.energies[::-1])[::-1], 0.0)
        return lost / self.variance if self.variance > 0 else np.zeros_like(lost)

    def rank_for(self, energy: float) -> int:
        """Return the fewest components, at least one, that hold this share of the energy."""
        enough = self.tail() <= 1 - energy + 1e-12  # the sums are exact to float64 only
        return max(1, int(np.argmax(enough)))


def components(weight: Array, moments: RowMoments | None = None) -> Components:
    """Return the principal components of the outputs of `weight`.

    Args:
        weight: [outputs, inputs], finite.
        moments: of the inputs; None for inputs of mean 0, variance 1 and no correlation.
    """
    core = weight.astype(np.float64)
    basis = None
    if core.shape[0] > core.shape[1]:  # the eigenvectors lie in the space of its columns
        basis, core = np.linalg.qr(core)
    gram = core @ core.T if moments is None else core @ moments.second @ core.T
    energies, directions = np.linalg.eigh((gram + gram.T) / 2)
    energies, directions = np.maximum(energies[::-1], 0), directions[:, ::-1]
    return Components(energies, directions if basis is None else basis @ directions, _variance(weight, moments))


def factors(weight: Array, found: Components, rank: int) -> tuple[Floats, Floats]:
    """Return (up, down), [outputs, rank] and [rank, inputs], of least error: up @ down is the best of this rank.

    The square root of each component's size goes into either factor, so that what lies between has even ranges.
    """
    directions = found.directions[:, :rank]
    sizes = np.sqrt(np.sqrt(np.maximum(found.energies[:rank], found.energies[0] * 1e-12)))
    sizes = np.where(sizes > 0, sizes, 1.0)
    return directions * sizes, (directions.T @ weight.astype(np.float64)) / sizes[:, None]


def refit(target: Array, features: Array, moments: RowMoments | None = None) -> Floats:
    """Return G [outputs, features] such that G @ features comes closest to `target` on the inputs.

    Args:
        target: [outputs, inputs].
        features: [features, inputs]: what is computed of the inputs, linearly.
        moments: of the inputs, as above.
    """
    weighted = features.astype(np.float64) if moments is None else features @ moments.second
    gram = weighted @ features.T
    gram[np.diag_indices_from(gram)] += _RIDGE * np.mean(np.diag(gram)) or 1.0
    return np.asarray(np.linalg.solve(gram, weighted @ target.T.astype(np.float64)).T)


def relative_error(weight: Array, other: Array, moments: RowMoments | None = None) -> float:
    """Return E|W x - W' x|^2 as a share of the variance of W x; 0 where that is 0.

    Args:
        weight, other: [outputs, inputs].
        moments: of the inputs, as above.
    """
    variance = _variance(weight, moments)
    return max(_energy(weight - other, moments), 0.0) / variance if variance > 0 else 0.0


def _energy(weight: Array, moments: RowMoments | None) -> float:
    matrix = weight.astype(np.float64)
    return float(np.sum(matrix * (matrix if moments is None else matrix @ moments.second)))


def _variance(weight: Array, moments: RowMoments | None) -> float:
    """The variance of the outputs, summed over them; of constant outputs, what float32 cannot tell from it."""
    energy = _energy(weight, moments)
    return energy if moments is None else max(energy - float(np.sum((weight @ moments.mean) ** 2)), _RIDGE * energy)
