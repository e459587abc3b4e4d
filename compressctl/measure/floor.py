"""The fidelity floor: how close a result's outputs must stay to the input model's where no labels judge them.

A floor is a line between compressed and destroyed, the same for every model and every output:

- SQNR of 10 dB: the error has a tenth of the signal's energy. Below, an output no longer tells what it did.
  Of integers, which may be labels, nine in ten may stay the same instead.
- What varies from sample to sample has at least the energy of the error. Prices around 200,000 keep 20 dB when all of
  them become their mean; an error that is larger than what varies says that the mean, the same for all samples, would
  come closer. Numbers drawn at random may differ less than data do: of those, no more is asked than that an output is
  nearer to its original than to that of another sample, which is twice the variance away (-3 dB).
- Agreement of 90 %, of outputs that are scores of classes, where one in two of the answers that change was right: top-1
  falls by 5 points. How many were right, the input model's own probabilities say: what falls short is the *expected
  drop* of top-1. Of close calls as many become right as wrong, and they cost next to nothing; a sure answer that is
  gone costs nearly one. Networks are too sure rather than too modest (Guo et al. 2017, arXiv:1706.04599), so the fall
  is overestimated rather than missed; it is never more than the share of answers that differ.

- A divergence of 0.22 nats a token, of next tokens of a language model, instead of the others: its perplexity is
  expected to rise by a quarter. SQNR says little of logits: what all of a place have in common changes no probability,
  and a probability of 0.6 that becomes 0.3 is one value in tens of thousands. Nor does the expected drop: most next
  tokens are close calls, which cost next to nothing one by one, while a spoilt network gives each of them away. A
  quarter is much: cross-entropy goes with the number of weights to the power of -0.076 (Kaplan et al. 2020,
  arXiv:2001.08361), so that near a perplexity of 20 a network of two fifths of the weights gives as much away. The
  baseline's own distribution stands in for what comes next, so no text needs to be judged; where one is (perplexity),
  that outranks it, as labels do. Of ids drawn at random, unlike any that a network has seen, twice as much may be off.

Robust classifiers keep their answers under much noise: where real samples exclude a larger drop, by the whole 95 %
interval, a low SQNR of scores is no alarm. A few samples alarm by chance no more than many: the drop has to be expected
above the limit, and with its whole interval above half of it. Numbers drawn at random belong to no class, and all their
answers are close calls: of those, no more is asked than that most answers agree. But a result that was calibrated on
them is at its best on them, and worse on data: there they are held to what data are held to.

Where labels were measured on an output, they outrank the floor for it, if they exclude a large fall: a student, or a
network trained further, differs from its original and may be better. Outputs that the metric does not read are judged
all the same. NaN or infinity where the input model's values are finite is below any floor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from compressctl.measure.fidelity import OutputFidelity
from compressctl.measure.measurement import Measurement
from compressctl.numerics.statistics import wilson_interval

What = Literal["SQNR", "varying", "agreement", "expected drop", "divergence", "non-finite"]


@dataclass(frozen=True)
class Floor:
    """What every output must keep to.

    Attributes:
        sqnr_db: the signal-to-quantization-noise ratio, at least.
        agreement: the share of samples with the same class on top, at least, of outputs that are scores of classes;
            `expected_drop` stands in for it, where half of what is lost was right.
        made_up_agreement: the same on numbers drawn at random.
        varying_db: what varies from sample to sample against the error, at least; of outputs that are no scores of
            classes, which the agreement judges.
        made_up_varying_db: the same on numbers drawn at random.
        perplexity: the factor by which the perplexity of a language model may be expected to rise, at most.
    """

    sqnr_db: float
    agreement: float
    made_up_agreement: float = 0.5
    varying_db: float = 0.0
    made_up_varying_db: float = -3.0
    perplexity: float = 1.25

    @property
    def divergence(self) -> float:
        """The divergence of next tokens in nats a token, at most."""
        return math.log(self.perplexity)

    @property
    def expected_drop(self) -> float:
        """How much top-1 may be expected to fall, at most."""
        return (1 - self.agreement) / 2


@dataclass(frozen=True)
class Shortfall:
    """An output below a floor.

    Attributes:
        output: its name.
        what: the figure that falls short; "non-finite" where values are NaN or infinite that the input model's are not.
        value: what was measured; of "non-finite", how many values.
        limit: what the floor asks for: at least; of "expected drop", "divergence" and "non-finite" at most.
        inputs: of "non-finite", what the models were given; else empty: the samples that outputs are compared on.
    """

    output: str
    what: What
    value: float
    limit: float
    inputs: str = ""


VERDICT = Floor(sqnr_db=10.0, agreement=0.90)
"""Below this no result is `ok`."""

TARGET = Floor(sqnr_db=15.0, agreement=0.95, varying_db=5.0, made_up_varying_db=2.0, perplexity=1.1)
"""What the scheme `auto` holds by itself: a third of the error, half the expected drop, less than half the rise of
perplexity. It sees a few of the samples
that ranges were fitted to, and on others errors are larger."""

_LARGE = 0.05  # of the metric: as much as the floor lets top-1 be expected to fall


def shortfall(outputs: Sequence[OutputFidelity], floor: Floor) -> tuple[Shortfall, ...]:
    """Return what of each output is below a floor."""
    return tuple(found for output in outputs for found in _of(output, floor))


def below(after: Measurement) -> tuple[Shortfall, ...]:
    """Return what of a measured result is below the floor of the verdict, labels and made-up inputs considered."""
    strange = tuple(Shortfall(one.output, "non-finite", one.values, 0, one.inputs) for one in after.non_finite)
    found = shortfall(after.fidelity, VERDICT)
    return (*(one for one in found if one.what == "non-finite" or not _outranked(after, one.output)), *strange)


def _outranked(after: Measurement, output: str) -> bool:
    """Whether labels exclude that what this output is good for fell by more than a twentieth."""
    if after.drop is None or after.score is None or after.judged not in (None, output):
        return False
    return after.drop.high <= _LARGE * (abs(after.score.value) + abs(after.drop.drop))


def _of(output: OutputFidelity, floor: Floor) -> Iterator[Shortfall]:
    if output.new_non_finite:
        yield Shortfall(output.name, "non-finite", output.new_non_finite, 0)
        return
    if output.kl is not None:
        limit = floor.divergence * (2 if _lenient(output) else 1)
        if not output.kl.value <= limit and not output.kl.low * 2 <= limit:
            yield Shortfall(output.name, "divergence", output.kl.value, limit)
        return
    labels = output.equal is not None and _interval(output.equal, output.count)[1] >= floor.agreement
    if output.sqnr_db < floor.sqnr_db and not labels and not _answers_stay(output, floor):
        yield Shortfall(output.name, "SQNR", output.sqnr_db, floor.sqnr_db)
    elif output.varying_db is not None and output.agreement is None and not labels:
        limit = floor.made_up_varying_db if _lenient(output) else floor.varying_db
        if output.varying_db < limit:
            yield Shortfall(output.name, "varying", output.varying_db, limit)
    if output.agreement is None or output.expected_drop is None or not output.count:
        return
    if _lenient(output):
        if _interval(output.agreement, output.count)[1] < floor.made_up_agreement:
            yield Shortfall(output.name, "agreement", output.agreement, floor.made_up_agreement)
    elif output.expected_drop > floor.expected_drop < 2 * _interval(output.expected_drop, output.count)[0]:
        yield Shortfall(output.name, "expected drop", output.expected_drop, floor.expected_drop)


def _lenient(output: OutputFidelity) -> bool:
    """Whether the samples make a result look worse than data would."""
    return output.made_up and not output.fitted


def _answers_stay(output: OutputFidelity, floor: Floor) -> bool:
    """Whether real samples exclude that top-1 falls by more than the floor admits."""
    if output.expected_drop is None or output.made_up or not output.count:
        return False
    return _interval(output.expected_drop, output.count)[1] <= floor.expected_drop


def _interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's; of a mean of values from 0 to 1 it is wide enough, as none varies more than a proportion does."""
    return wilson_interval(share * count, count)
