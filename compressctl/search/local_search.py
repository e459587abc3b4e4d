"""Candidates beside others: near a good one, or at least as harsh in every respect as one that surely lost too much.

Near a good one, most settings stay, one or a few are drawn anew. Optuna's estimator explores well but needs tens of
trials to see which settings go together; steps from what is best find in few trials what is near it. Every other trial
is one, as in local search around the incumbent (Hutter et al. 2011, SMAC).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from compressctl.passes.searched import SPACES
from compressctl.passes.space import Params, Space
from compressctl.search.candidate import suggest

_CHANGES = 1.5  # settings that are drawn anew, in the mean
_SIGNS = {"spared": -1} | {name: sign for part in SPACES for name, sign in part.monotone.items()}
_LADDERS = [ladder for part in SPACES for ladder in part.ladders]


def local_move(parent: Params, space: Space, seed: str) -> dict[str, Any]:
    """Return parameters near those of `parent`, different at least in one; the same seed gives the same ones."""
    for attempt in range(100):
        found = suggest(_Near(parent, random.Random(f"{seed} {attempt}")), space)
        if found != parent:
            return found
    return dict(parent)


class _Near:
    """Chooses what the parent has, or anew; a number then moves a few steps, which may be none."""

    def __init__(self, parent: Params, dice: random.Random) -> None:
        self._parent, self._dice = parent, dice

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        if name in self._parent and not self._changes():
            return self._parent[name]
        return self._dice.choice(list(choices)) if name in self._parent else self._first(name, choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return round(self._moved(name, low, high, 1))

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
        return self._moved(name, low, high, step or (high - low) / 10)

    def _first(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the neutral choice of a parameter that the parent has not, mostly."""
        return self._dice.choice(list(choices)) if self._changes() else choices[0]

    def _moved(self, name: str, low: float, high: float, step: float) -> float:
        if name not in self._parent:
            return low + step * self._dice.randint(0, round((high - low) / step))
        moves = self._dice.choice((-3, -2, -1, 1, 2, 3)) if self._changes() else 0
        return min(max(float(self._parent[name]) + step * moves, low), high)

    def _changes(self) -> bool:
        return self._dice.random() < _CHANGES / max(len(self._parent), 1)


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
