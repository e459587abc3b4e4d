"""Which form and which ranks a weight gets, and whether that pays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compressctl.choices import FactorWhere
from compressctl.factorization.costs import FASTER, factored_macs, macs
from compressctl.factorization.forms import MULTIPLE, Factorization, Factors, Ranks, Shape
from compressctl.factorization.units import Unit
from compressctl.measure.latency import LatencyRatio

Measure = Callable[[Unit, Shape, Factors], LatencyRatio]


@dataclass(frozen=True)
class Aim:
    """How high ranks are; one of the two is given.

    Attributes:
        energy: the share of each weight's energy to keep.
        ratio: the share of each weight's elements to keep.
    """

    energy: float | None = None
    ratio: float | None = None

    def ranks(self, form: Factorization) -> Ranks | None:
        """Return the ranks of `form`, None where no ranks are low enough."""
        if self.energy is not None:
            return form.ranks_for_energy(self.energy)
        assert self.ratio is not None
        return form.ranks_for_ratio(self.ratio)

    def __str__(self) -> str:
        return f"energy {self.energy:g}" if self.energy is not None else f"ratio {self.ratio:g}"


@dataclass(frozen=True, eq=False)
class ChosenFactors:
    """The factors that a weight gets.

    Attributes:
        unit: the weight and its layers.
        input: shape of what its first layer reads.
        factors: what takes its place.
        size_ratio: elements of the factors over those of the weight.
        macs_ratio: multiply-accumulates of the factors over those of the layer.
    """

    unit: Unit
    input: Shape
    factors: Factors
    size_ratio: float
    macs_ratio: float


def choose(
    unit: Unit, forms: Sequence[Factorization], x: Shape, aim: Aim, where: FactorWhere, measure: Measure | None = None
) -> ChosenFactors | str:
    """Return the factors of a weight, or why it is left.

    Of several forms that pay, a given energy takes the one of fewest multiply-accumulates, and a given ratio that of
    least error; of equal ones the first.

    Args:
        unit: the weight.
        forms: what it may take.
        x: shape of what its first layer reads.
        aim: how high ranks are.
        where: "size": fewer elements and fewer multiply-accumulates; "latency": and a measured latency below 0.95 of
            the layer's; "always".
        measure: measures the latency; needed for "latency".
    """
    layer = unit.layers[0]
    before = macs(layer, x)
    costs: list[tuple[float, float, Factorization, Ranks]] = []  # of multiply-accumulates, of elements
    for form in forms:
        ranks = aim.ranks(form)
        if ranks is not None and ranks != form.full:
            shapes = form.shapes(ranks)
            share = factored_macs(layer, x, form.method, shapes) / before
            costs.append((share, sum(map(math.prod, shapes)) / form.matrix.size, form, ranks))
    if not costs:
        return f"no lower rank that is a multiple of {MULTIPLE} has {aim}"
    paying = [cost for cost in costs if where == "always" or max(cost[:2]) < 1]
    if not paying:
        share, size, form, ranks = min(costs, key=lambda cost: max(cost[:2]))
        told = f"multiply-accumulates x{share:.2f}, size x{size:.2f}"
        return f"no gain at {aim}: {form.method} of {ranks_text(ranks)} makes {told}"
    if aim.energy is not None:
        paying = [min(paying, key=lambda cost: cost[0])]
    built = [ChosenFactors(unit, x, form.build(ranks), size, share) for share, size, form, ranks in paying]
    choice = min(built, key=lambda choice: choice.factors.error)
    if where == "latency":
        assert measure is not None
        ratio = measure(unit, x, choice.factors)
        if ratio.high >= FASTER:
            told = f"{choice.factors.method} of {ranks_text(choice.factors.ranks)}"
            return f"not faster: {told} takes x{ratio.ratio:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] of its latency"
    return choice


def ranks_text(ranks: Ranks) -> str:
    """Return ranks as words."""
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
