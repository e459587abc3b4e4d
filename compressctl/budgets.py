"""Budgets: what a user holds a result to. A field states all that there is to a budget: what is measured against it, in
which direction, and how its figures are written; the recipe, the flags, the judgement and the reports follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from compressctl.fields import Option, Options
from compressctl.measure.interval import Interval
from compressctl.measure.metrics import is_share
from compressctl.quantities import Bytes, Share, is_percentage, share

if TYPE_CHECKING:
    from compressctl.measure.measurement import Measurement

    Measured = Interval | float | None


@dataclass(frozen=True, kw_only=True)
class Unit:
    """How figures are written.

    Attributes:
        form: the unit, with {} where the figure goes.
        factor: what a value is multiplied by to be in the unit.
        digits: the format of the figure.
        si: whether the unit takes SI prefixes, as bytes do.
    """

    form: str = "{}"
    factor: float = 1
    digits: str = ".4g"
    si: bool = False


PLAIN = Unit()
_RATIO = Unit(form="x {}")
_BYTES = Unit(form="B", si=True)
_PERCENT = Unit(form="{} %", factor=100)


@dataclass(frozen=True, kw_only=True)
class Budget(Option):
    """A field that is a limit.

    Attributes:
        measured: returns what is held against it; None where that cannot be measured.
        at_least: whether it is a lower limit.
        unit: of its figures.
        unit_of_shares: of its figures where the metric is a share; default: the same.
        clock: the digits of what a clock measured, which may be unable to tell on a busy machine; None: no clock did.
        absent: why nothing was measured.
    """

    measured: Callable[[Measurement], Measured]
    at_least: bool = False
    unit: Unit = PLAIN
    unit_of_shares: Unit | None = None
    runs: bool = True
    clock: str | None = None
    absent: str = "this system cannot measure it"


def _drop(after: Measurement) -> Measured:
    return after.drop.interval if after.drop else None


def _latency(after: Measurement) -> Measured:
    latency = after.latency
    if latency is None:
        return None
    if math.isnan(latency.low_ms):
        return latency.median_ms
    return Interval(latency.median_ms, latency.low_ms, latency.high_ms)


def _sqnr(after: Measurement) -> Measured:
    """The SQNR of the worst output; NaN if that of any output is."""
    found = [output.sqnr_db for output in after.fidelity if output.values != 0]
    return (math.nan if any(map(math.isnan, found)) else min(found)) if found else None


def _agreement(after: Measurement) -> Measured:
    """The agreement of the worst output that is scores of classes, with Wilson's interval."""
    from compressctl.numerics.statistics import wilson_interval

    found = [(output.agreement, output.count) for output in after.fidelity if output.agreement is not None]
    if not found:
        return None
    share, count = min(found)
    return Interval(share, *wilson_interval(share * count, count))


def _of_a_score(value: Any, info: ValidationInfo) -> Any:
    """Return a limit on a metric in its own unit, where `1%` is 0.01 of one that is a share."""
    metric = info.data.get("metric")
    if is_percentage(value) and metric is not None and not is_share(metric):
        raise ValueError(f"{metric} is no share: give a number in its own unit")
    return share(value)


def _kl(after: Measurement) -> Measured:
    """The divergence of the next tokens of the worst output that is logits over a vocabulary."""
    found = [output.kl for output in after.fidelity if output.kl is not None]
    return max(found, key=lambda kl: math.inf if math.isnan(kl.value) else kl.value, default=None)


class Budgets(Options):
    """The budgets of a run. Each is None where nothing is asked for."""

    group: ClassVar[str | None] = "Budgets"

    max_accuracy_drop: Annotated[
        float | None,
        BeforeValidator(_of_a_score),
        Budget(
            measured=_drop,
            unit=Unit(digits="+.4g"),
            unit_of_shares=Unit(form="{} points", factor=100, digits="+.2f"),
            scored=True,
            everyday=True,
        ),
    ] = Field(default=None, ge=0)
    """Budget: the metric may get worse by at most this much, in its own unit; of one that is a share 0.01, or 1%, is
    one point."""
    min_accuracy: Annotated[
        float | None,
        BeforeValidator(_of_a_score),
        Budget(measured=lambda after: after.score, at_least=True, unit_of_shares=_PERCENT, scored=True),
    ] = None
    """Budget: the metric of the result, at least; of one that is a share 0.8, or 80%."""
    size_ratio: Annotated[
        float | None, Budget(measured=lambda after: after.size_ratio, unit=_RATIO, runs=False, everyday=True)
    ] = Field(default=None, gt=0)
    """Budget: file size of the result over that of the input, at most."""
    max_size: Annotated[
        Bytes | None, Budget(measured=lambda after: after.bytes, unit=_BYTES, runs=False, metavar="BYTES")
    ] = None
    """Budget: file size of the result, at most: bytes, or for example 500kB or 2MB."""
    latency_ratio: Annotated[
        float | None,
        Budget(measured=lambda after: after.latency_ratio, unit=_RATIO, clock=".3f", everyday=True),
    ] = Field(default=None, gt=0)
    """Budget: latency of the result over that of the input, at most."""
    max_latency_ms: Annotated[float | None, Budget(measured=_latency, unit=Unit(form="{} ms"), clock=".3g")] = Field(
        default=None, gt=0
    )
    """Budget: median latency of the result on this machine in milliseconds, at most."""
    max_memory: Annotated[
        Bytes | None, Budget(measured=lambda after: after.peak_memory, unit=_BYTES, metavar="BYTES")
    ] = None
    """Budget: memory that loading and running the result adds to a fresh process at its peak, at most: bytes, or for
    example 64MB."""
    min_sqnr: Annotated[
        float | None,
        Budget(
            measured=_sqnr,
            at_least=True,
            unit=Unit(form="{} dB"),
            metavar="DB",
            absent="no output has values to compare",
        ),
    ] = None
    """Budget: signal-to-noise ratio of each output against the input model's in dB, at least; needs no labels."""
    min_agreement: Annotated[
        Share | None,
        Budget(
            measured=_agreement,
            at_least=True,
            unit=_PERCENT,
            metavar="SHARE",
            absent="no output is scores of classes",
        ),
    ] = None
    """Budget: share of samples on which each output that is scores of classes has the same class on top as the input
    model's, at least; needs no labels."""
    max_kl: Annotated[
        float | None,
        Budget(
            measured=_kl,
            unit=Unit(form="{} nats"),
            metavar="NATS",
            absent="no output is the logits of a language model",
        ),
    ] = Field(default=None, ge=0)
    """Budget: divergence (Kullback-Leibler) of a language model's next tokens from the input's in nats a token, at
    most: 0.1 lets perplexity be expected to rise by a tenth; needs no labels."""
    strict: bool = False
    """Budgets are met only where the whole 95 % interval of what was measured keeps to them."""
    on_regression: Literal["rollback", "keep"] = "rollback"
    """A pass whose result is measured slower and not smaller, is below the fidelity floor, or breaks a budget that the
    result before it keeps, is rolled back, or kept and flagged."""

    def limits(self) -> Iterator[tuple[str, Budget, float]]:
        """Yield the budgets that are asked for: name, what it says of itself, and its limit."""
        for name, budget in BUDGETS.items():
            limit: float | None = getattr(self, name)
            if limit is not None:
                yield name, budget, limit


BUDGETS = {name: about for name in Budgets.model_fields if isinstance(about := Budgets.about(name), Budget)}
