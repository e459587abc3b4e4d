"""The fidelity floor: how close a result's outputs must stay to the input model's where no labels judge them.

A floor is a line between compressed and destroyed, the same for every model:

- SQNR of 10 dB: the error has a tenth of the signal's energy. Below, an output no longer tells what it did.
- Agreement of 90 %, of outputs that are scores of classes: below, one answer in ten is another one.

Agreement of 1 - d bounds the fall of top-1 by d on the same samples, whatever the labels are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from compressctl.measure.fidelity import OutputFidelity
from compressctl.numerics.statistics import wilson_interval

What = Literal["SQNR", "agreement", "non-finite"]


@dataclass(frozen=True)
class Floor:
    """What every output must reach.

    Attributes:
        sqnr_db: the signal-to-quantization-noise ratio.
        agreement: the share of samples with the same class on top, of outputs that are scores of classes.
    """

    sqnr_db: float
    agreement: float


@dataclass(frozen=True)
class Shortfall:
    """An output below a floor.

    Attributes:
        output: its name.
        what: the figure that falls short; "non-finite" where values are NaN or infinite that the input model's are not.
        value: what was measured; of "non-finite", how many values.
        limit: what the floor asks for.
    """

    output: str
    what: What
    value: float
    limit: float


VERDICT = Floor(sqnr_db=10.0, agreement=0.90)
"""Below this no result is `ok`."""

TARGET = Floor(sqnr_db=20.0, agreement=0.95)
"""What the scheme `auto` holds by itself: a hundredth of the signal's energy, one answer in twenty."""


def shortfall(outputs: Sequence[OutputFidelity], floor: Floor) -> tuple[Shortfall, ...]:
    """Return what of each output is below a floor.

    A few samples alarm by chance no more than many: an agreement falls short where its whole 95 % interval does.
    """
    return tuple(found for output in outputs for found in _of(output, floor))


def _of(output: OutputFidelity, floor: Floor) -> Iterator[Shortfall]:
    if output.result_non_finite > output.baseline_non_finite:
        strange = output.result_non_finite - output.baseline_non_finite
        yield Shortfall(output.name, "non-finite", strange, 0)
        return
    if output.sqnr_db < floor.sqnr_db:
        yield Shortfall(output.name, "SQNR", output.sqnr_db, floor.sqnr_db)
    if output.agreement is not None and output.count:
        agreeing = round(output.agreement * output.count)
        if wilson_interval(agreeing, output.count)[1] < floor.agreement:
            yield Shortfall(output.name, "agreement", output.agreement, floor.agreement)
