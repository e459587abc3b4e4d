"""The values that shared weights take so that a layer's output is closest, which weight has which value being given.

A layer gives y = W x; in the place of W stands V with V[o, i] = c[n[o, i]]. The error tr((W - V) H (W - V)^T), with the
second moments H of x, is quadratic in the values c, and conjugate gradients find its minimum without the normal matrix.
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats

_STEPS = 8  # the first ones bring nearly all there is


def fit_values(target: Array, moments: Array, numbers: Array, values: Array, *, steps: int = _STEPS) -> Floats:
    """Return the values moved to where the error is least; no step is worse.

    Args:
        target: W, [outputs, inputs].
        moments: H, [inputs, inputs], positive definite.
        numbers: n, [outputs, inputs], integers: which value each weight has; -1 for those that are 0 and stay so.
        values: c, [k], to start from.
        steps: of conjugate gradients, at most; in k steps the minimum is reached.
    """
    used, places = numbers >= 0, np.maximum(numbers, 0)
    flat = places[used]

    def summed(array: Array) -> Floats:
        return np.bincount(flat, array[used], len(values)).astype(np.float64, copy=False)

    curvature = summed(np.broadcast_to(np.diag(moments), target.shape))
    scale = np.divide(1, curvature, out=np.zeros(len(values)), where=curvature > 0)  # Jacobi preconditioner
    found = values.astype(np.float64)
    residual = summed((target - np.where(used, found[places], 0)) @ moments)
    direction = scale * residual
    power = first = float(residual @ direction)
    for _ in range(min(steps, len(values))):
        if power <= 1e-20 * first:
            break
        bent = summed(np.where(used, direction[places], 0) @ moments)
        length = power / float(direction @ bent)
        found += length * direction
        residual -= length * bent
        before, power = power, float(residual @ (scale * residual))
        direction = scale * residual + power / before * direction
    return found
