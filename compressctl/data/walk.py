"""What a model is timed on: one step, or several that follow each other, with the states carried between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from compressctl.arrays import Array

MOST_STEPS = 32
MADE_UP_STEPS = 8  # where samples are no sequences


@dataclass(frozen=True)
class Walk:
    """Feeds of steps in their order.

    Attributes:
        steps: an array for every input; after the first step, none for the states.
        states: the input of each state -> the output whose value of one step is fed in the next.
    """

    steps: tuple[Mapping[str, Array], ...]
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> Mapping[str, Array]:
        """An array for every input."""
        return self.steps[0]

    def shortened(self, steps: int) -> Walk:
        """Return the first steps, as many at most."""
        return replace(self, steps=self.steps[:steps])


def standing(feeds: Mapping[str, Array]) -> Walk:
    """Return one step alone."""
    return Walk((feeds,))
