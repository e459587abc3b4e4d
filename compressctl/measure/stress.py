"""Inputs that nobody gave, on which a result must stay finite where the baseline does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Mask
from compressctl.data.source import Feeds
from compressctl.errors import CompressctlError
from compressctl.measure.session import Session

_SEEDS = 4
_LARGE = 10.0  # times the given samples: larger than any sample, and no reason to overflow


@dataclass(frozen=True)
class NonFinite:
    """An output that is NaN or infinite where the baseline's is finite.

    Attributes:
        output: its name.
        inputs: what the models were given.
        values: how many.
    """

    output: str
    inputs: str
    values: int


class StressTest:
    """Zeros, ones, large inputs and noise in the shape of samples, and where the baseline is finite on them.

    A cut network may divide by a sum of features that are gone; samples that all look alike need not show it.

    Args:
        baseline: the model that results are compared with.
        feeds: samples; their integers (ids, masks) stay as they are. Of samples without floats there is nothing to try.
        seed: of the noise.
    """

    def __init__(self, baseline: Session, feeds: Feeds, seed: int) -> None:
        rng = np.random.default_rng(seed)
        made: dict[str, Callable[[Array], Array]] = {
            "zeros": np.zeros_like,
            "ones": np.ones_like,
            f"{_LARGE:g} times the first samples": lambda array: array * np.asarray(_LARGE, array.dtype),
        }
        noise = [lambda array: rng.standard_normal(array.shape).astype(array.dtype)] * _SEEDS
        made |= {f"noise ({number} of {_SEEDS})": make for number, make in enumerate(noise, 1)}
        floats = [name for name, array in feeds.items() if array.dtype.kind == "f"]
        self._given = {
            what: {name: make(array) if name in floats else array for name, array in feeds.items()}
            for what, make in made.items()
            if floats
        }
        self._finite = {what: _finite(baseline, given) for what, given in self._given.items()}

    def non_finite(self, result: Session) -> tuple[NonFinite, ...]:
        """Return the outputs of a result that are not finite where the baseline's are; one that fails gives none."""
        found = []
        for what, before in self._finite.items():
            after = _finite(result, self._given[what]) if before else {}
            for name, finite in before.items():
                kept = after.get(name, np.zeros_like(finite))
                if kept.shape == finite.shape and (lost := int(np.count_nonzero(finite & ~kept))):
                    found.append(NonFinite(name, what, lost))
        return tuple(found)


def _finite(session: Session, feeds: Feeds) -> dict[str, Mask]:
    """Return where each float output is finite; nothing where the model cannot run on such inputs."""
    try:
        outputs = session.run(feeds)
    except CompressctlError:
        return {}
    return {
        name: np.asarray(np.isfinite(array.astype(np.float64)))
        for name, array in outputs.items()
        if array.dtype.kind not in "OUSiub"
    }
