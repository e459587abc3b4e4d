"""Candidates that need no trial: at least as harsh in every respect as one that surely lost too much."""

from __future__ import annotations

from compressctl.passes.searched import SPACES
from compressctl.passes.space import Params

_SIGNS = {"spared": -1} | {name: sign for part in SPACES for name, sign in part.monotone.items()}
_LADDERS = [ladder for part in SPACES for ladder in part.ladders]


def dominates(params: Params, other: Params) -> bool:
    """Whether a candidate is at least as harsh as another in every respect, and comparable with it at all."""
    return params.keys() == other.keys() and all(_at_least(key, params[key], other[key]) for key in params)


def _at_least(key: str, value: object, other: object) -> bool:
    if value == other:
        return True
    if key == "format":
        ladder = next((formats for formats in _LADDERS if value in formats), ())
        return other in ladder and ladder.index(str(value)) > ladder.index(str(other))
    sign = _SIGNS.get(key)
    if sign is None or not isinstance(value, int | float) or not isinstance(other, int | float):
        return False
    return sign * value > sign * other
