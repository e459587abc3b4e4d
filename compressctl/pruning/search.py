"""Which layer to prune how far: greedily, first where it costs least for what it saves.

The sensitivity of layers, measured one at a time, orders the steps; how many of them are taken is decided by what all
of them together do. A greedy order by slope is what layer-wise sensitivity is for in Li et al. 2017 (arXiv:1608.08710).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from compressctl.pruning.sensitivity import Curve


class Steps:
    """Ratios of all layers, growing step by step.

    Each step raises one layer to the ratio at which it adds the least noise for what that saves in addition.

    Args:
        curves: of the layers.
        sizes: what pruning a whole layer saves, by name.
    """

    def __init__(self, curves: Sequence[Curve], sizes: Mapping[str, float]) -> None:
        self._steps: list[tuple[str, float]] = []
        waiting = [_hull(curve, sizes[curve.layer]) for curve in curves]
        while any(waiting):
            slopes = [steps[0][0] if steps else float("inf") for steps in waiting]
            index = slopes.index(min(slopes))
            _, ratio = waiting[index].pop(0)
            self._steps.append((curves[index].layer, ratio))

    def __len__(self) -> int:
        return len(self._steps)

    def first(self, count: int) -> dict[str, float]:
        """Return the ratios after `count` steps, by name; layers that stay whole have none."""
        return dict(self._steps[:count])

    def longest(self, holds: Callable[[Mapping[str, float]], bool]) -> dict[str, float]:
        """Return the ratios after the most steps for which `holds` is true, found by bisection.

        About log2(steps) calls; what holds is taken to hold for fewer steps, too.
        """
        fits, too_many = 0, len(self) + 1
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            if holds(self.first(middle)):
                fits = middle
            else:
                too_many = middle
        return self.first(fits)


def _hull(curve: Curve, size: float) -> list[tuple[float, float]]:
    """Return (slope, ratio) along the lower convex hull of noise against ratio, from (0, 0) on; slopes rise."""
    points = [(0.0, 0.0)]
    highest = 0.0
    for ratio, judged in zip(curve.ratios, curve.judged, strict=True):
        highest = max(highest, judged.noise)  # more zeros are not better but by chance
        points.append((ratio, highest))
    steps, at = [], 0
    while at + 1 < len(points):
        ratio, noise = points[at]
        slopes = [(later - noise) / (further - ratio) for further, later in points[at + 1 :]]
        best = min(slopes)
        at += slopes.index(best) + 1
        steps.append((best / size, points[at][0]))
    return steps
