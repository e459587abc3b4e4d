"""How close a model's outputs are to the baseline's, on the same samples: no labels needed.

Of texts of different lengths, what a model gives for the padding is read by nobody: where an input `attention_mask` or
`input_mask` marks it, outputs [N, T, …] are compared at the tokens alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Floats, Mask
from compressctl.data.decoding import attended
from compressctl.data.source import Batch, Source
from compressctl.errors import ModelError
from compressctl.measure.interval import Interval
from compressctl.measure.next_tokens import NextTokenTally
from compressctl.measure.remembered import Remembered
from compressctl.measure.session import Session
from compressctl.measure.steps import Steps
from compressctl.model.scores import Classes
from compressctl.progress import Progress, Silent


@dataclass(frozen=True)
class OutputFidelity:
    """One output of a result against the baseline's, over all its values on all samples.

    Attributes:
        name: the output.
        agreement: share of places at which both have the same class on top, of outputs that are scores of classes (one
            place a sample, or a token, or a pixel); else None.
        count: number of samples.
        sqnr_db: signal-to-quantization-noise ratio, 10 log10(sum b² / sum (b - r)²); infinite where both are equal.
        cosine: of the angle between both, blind to scale.
        scale: slope s of the least-squares fit r = s b; 1 where the result is not too large or small as a whole.
        max_abs_error: the largest |b - r|, NaN or infinite where one is.
        baseline_non_finite, result_non_finite: values that are NaN or infinite. Infinities that both have alike are
            left out of the other figures; any other such value makes SQNR, cosine and scale NaN.
        new_non_finite: values that are NaN or infinite where the baseline's are finite.
        values: how many values were compared; of an output without any, the other figures say nothing.
        expected_drop: how much top-1 falls if the baseline's probabilities are right: the mean of what it gives its own
            class more than the result's. At most 1 - agreement; None as `agreement`.
        equal: share of values that are equal, of integers, whose differences may mean nothing (labels); else None.
        made_up: whether the samples were numbers drawn at random, which belong to no class.
        fitted: whether the result may be fitted to these very samples: it was calibrated on them.
        varying_db: as `sqnr_db`, where only what varies from sample to sample counts as signal: how far each value of
            the baseline is from its mean over the samples. 0 where that mean, for every sample the same, would come
            as close. None where samples are too few, have no rows of their own, or do not differ.
        kl: of logits over a vocabulary, how far next tokens are from the baseline's, in nats a token (`next_tokens`);
            else None. Agreement and expected drop are of next tokens then, however unsure these are.
        tokens: places at which next tokens were compared.
    """

    name: str
    agreement: float | None
    count: int
    sqnr_db: float
    cosine: float
    scale: float
    max_abs_error: float
    baseline_non_finite: int = 0
    result_non_finite: int = 0
    new_non_finite: int = 0
    values: int | None = None
    expected_drop: float | None = None
    equal: float | None = None
    made_up: bool = False
    varying_db: float | None = None
    fitted: bool = False
    kl: Interval | None = None
    tokens: int = 0


_PIECE = 1 << 20  # values that are compared at once, unless one row has more
_FEW = 8  # samples, below which a mean over them is no more than what they are
_ROUNDING = 1e-10  # of the energy: what varies less is rounding, of float32 and of the sums
_SURE = 0.2
"""Scores of classes are surer than chance: the mean of their highest probability is this share of the way from 1/C to 1
at least. What a network learned by cross-entropy is (a language model's next word, too); an embedding, a regression or
cosines are not, and which of their columns is highest says nothing."""


def fidelity(
    baseline: Session | Remembered,
    result: Session,
    source: Source,
    batch_size: int,
    progress: Progress | None = None,
    *,
    most: int | None = None,
    scores: Mapping[str, Classes] | None = None,
    fitted: bool = False,
) -> tuple[OutputFidelity, ...]:
    """Compare each output of a result with the baseline's, batch by batch, on the first `most` samples or all.

    Args:
        baseline, result: the models.
        source: the samples.
        batch_size: where the models leave it open.
        progress: where to show progress.
        most: samples.
        scores: the outputs that may be scores of classes, see `model.scores`; None: no output is.
        fitted: whether the result may be fitted to these samples.

    Raises:
        ModelError: the result lacks an output, gives it another shape, or a model fails.
        DataError: the samples do not fit the models.
    """
    given = [spec.name for spec in result.outputs]
    tallies = {}
    for spec in baseline.outputs:
        if spec.name not in given:
            raise ModelError(f"{result.name} lacks the output {spec.name!r}", f"it has {', '.join(given)}")
        tallies[spec.name] = _Tally(spec.name, (scores or {}).get(spec.name))
    own = Steps(result, source.inputs)
    for batch in _batches(source, batch_size, progress, most):
        mask = attended(batch.counted(batch.feeds))
        expected = batch.counted(baseline.run(batch.feeds))
        actual = batch.counted(own.run(batch, list(tallies)))
        for name, tally in tallies.items():
            tally.add(expected[name], actual[name], batch.count, mask)
    return tuple(tally.fidelity(made_up=not source.judgeable, fitted=fitted) for tally in tallies.values())


def remember(
    baseline: Remembered, source: Source, batch_size: int, progress: Progress | None = None, *, most: int | None = None
) -> None:
    """Run a baseline on all that `fidelity` compares it on; errors as there."""
    for batch in _batches(source, batch_size, progress, most):
        baseline.run(batch.feeds)


def _batches(source: Source, batch_size: int, progress: Progress | None, most: int | None) -> Iterator[Batch]:
    count = min(len(source), most or len(source))
    batches = -(-count // (source.fixed_batch or batch_size))
    return iter((progress or Silent()).track(source.some(batch_size, count), "compare outputs", batches))


class _Tally:
    """Running sums over one output, in float64."""

    def __init__(self, name: str, classes: Classes | None) -> None:
        self._name = name
        self._samples = self._values = self._strange = 0
        self._words = NextTokenTally() if classes is not None and classes.words else None
        self._classes = None if classes is None or classes.words else _Classes(classes.axis)
        self._mean = _Mean()
        self._bb = self._rr = self._br = self._noise = self._worst = 0.0
        self._non_finite = [0, 0]
        self._equal: int | None = None

    def add(self, baseline: Array, result: Array, samples: int, mask: Mask | None) -> None:
        if baseline.shape != result.shape:
            shapes = f"{list(result.shape)} and {list(baseline.shape)}"
            raise ModelError(f"output {self._name!r} of the result and of the baseline differ in shape: {shapes}")
        if self._words is not None and baseline.ndim == 3:
            self._words.add(baseline, result, None if mask is None else mask[:, -baseline.shape[1] :])
        if mask is not None and baseline.ndim > 2 and baseline.shape[:2] == mask.shape:
            baseline, result = baseline[mask][None], result[mask][None]  # all tokens as one text
        self._samples += samples
        self._mean.add(self._floats(baseline) if baseline.dtype.kind not in "fiub" else baseline, samples)
        for b, r in _pieces(baseline, result, None if self._classes is None else self._classes.axis):
            self._add(self._floats(b), self._floats(r), whole=baseline.dtype.kind in "iub")

    def _floats(self, values: Array) -> Floats:
        try:
            return values.astype(np.float64)
        except ValueError:
            raise ModelError(f"output {self._name!r} is text, which cannot be compared as numbers") from None

    def _add(self, b: Floats, r: Floats, *, whole: bool) -> None:
        """Add a part of the output; `whole`: of an output of integers."""
        self._values += b.size
        if whole:
            self._equal = (self._equal or 0) + int(np.count_nonzero(b == r))
        elif self._classes is not None:
            self._classes.add(b, r)
        for index, values in enumerate((b, r)):
            self._non_finite[index] += int(np.count_nonzero(~np.isfinite(values)))
        if any(self._non_finite):
            self._strange += int(np.count_nonzero(np.isfinite(b) & ~np.isfinite(r)))
            counted = ~(np.isinf(b) & (b == r))
            b, r = b[counted], r[counted]
        with np.errstate(invalid="ignore", over="ignore"):
            error = b - r
            self._bb += float(np.vdot(b, b))
            self._rr += float(np.vdot(r, r))
            self._br += float(np.vdot(b, r))
            self._noise += float(np.vdot(error, error))
            self._worst = float(np.max(np.abs(error), initial=self._worst))

    def fidelity(self, *, made_up: bool, fitted: bool) -> OutputFidelity:
        sqnr, cosine, scale = self._figures()
        agreement, expected_drop = (None, None) if self._classes is None else self._classes.figures()
        words = None if self._words is None else self._words.figures()
        if words is not None:
            agreement, expected_drop = words.agreement, words.expected_drop
        return OutputFidelity(
            name=self._name,
            agreement=agreement,
            count=self._samples,
            sqnr_db=sqnr,
            cosine=cosine,
            scale=scale,
            max_abs_error=self._worst,
            baseline_non_finite=self._non_finite[0],
            result_non_finite=self._non_finite[1],
            new_non_finite=self._strange,
            values=self._values,
            expected_drop=expected_drop,
            equal=self._equal / self._values if self._equal is not None and self._values else None,
            made_up=made_up,
            varying_db=self._varying(),
            fitted=fitted,
            kl=None if words is None else words.kl,
            tokens=0 if words is None else words.tokens,
        )

    def _varying(self) -> float | None:
        constant = self._mean.energy()
        if constant is None or not self._noise or not math.isfinite(self._bb + self._noise):
            return None
        varies = self._bb - constant
        return 10 * math.log10(varies / self._noise) if varies > _ROUNDING * self._bb else None

    def _figures(self) -> tuple[float, float, float]:
        """Return SQNR, cosine and scale; a signal of zeros has neither direction nor scale."""
        if not math.isfinite(self._bb + self._rr + self._noise):
            return math.nan, math.nan, math.nan
        if self._noise == 0:
            return math.inf, 1.0, 1.0
        if self._bb == 0:
            return -math.inf, math.nan, math.nan
        cosine = self._br / math.sqrt(self._bb * self._rr) if self._rr else math.nan
        return 10 * math.log10(self._bb / self._noise), cosine, self._br / self._bb


def _pieces(baseline: Array, result: Array, axis: int | None) -> Iterator[tuple[Array, Array]]:
    """Yield both outputs piece by piece, none cut along an axis of classes: copies of the whole would crowd memory."""
    if baseline.ndim < 2 or baseline.size <= _PIECE:
        yield baseline, result
        return
    if axis is None or axis in (-1, baseline.ndim - 1):
        baseline, result = (
            values.reshape(-1, *[1] * (baseline.ndim - 2), values.shape[-1]) for values in (baseline, result)
        )
    rows = max(_PIECE * len(baseline) // baseline.size, 1)
    for start in range(0, len(baseline), rows):
        yield baseline[start : start + rows], result[start : start + rows]


class _Mean:
    """Sums over samples of an output that has one row a sample, all of one shape."""

    def __init__(self) -> None:
        self._sum: Floats | None = None
        self._samples = 0

    def add(self, baseline: Array, samples: int) -> None:
        if not baseline.ndim or len(baseline) != samples or (self._sum is None and self._samples):
            self._sum, self._samples = None, self._samples + samples
            return
        with np.errstate(invalid="ignore", over="ignore"):
            rows = baseline.sum(axis=0, dtype=np.float64)
            if self._sum is not None and self._sum.shape != rows.shape:
                self._sum = None
            elif self._sum is None:
                self._sum = rows
            else:
                self._sum += rows
        self._samples += samples

    def energy(self) -> float | None:
        """Return the energy of an output that is the mean for every sample; None where there are too few to tell."""
        if self._sum is None or self._samples < _FEW:
            return None
        with np.errstate(invalid="ignore", over="ignore"):
            return float(np.vdot(self._sum, self._sum)) / self._samples


class _Classes:
    """Running sums over the answers of an output that may be scores of classes along `axis`."""

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self._places = self._agreeing = 0
        self._chance = 1.0
        self._probabilities = True
        self._sure, self._lost = np.zeros(2), np.zeros(2)  # by values as they are, and by their softmax

    def add(self, baseline: Floats, result: Floats) -> None:
        if not baseline.ndim > 1 or not -baseline.ndim <= self.axis < baseline.ndim:
            return
        classes = baseline.shape[self.axis]
        if classes < 2 or not baseline.size:
            return
        b, r = (np.moveaxis(scores, self.axis, -1).reshape(-1, classes) for scores in (baseline, result))
        answered = ~np.isnan(b).any(axis=1)
        b, r = b[answered], r[answered]
        lost = np.isnan(r).any(axis=1)  # a place where the result has NaN never agrees
        rows, own, other = np.arange(len(b)), b.argmax(axis=1), r.argmax(axis=1)
        self._places += len(b)
        self._chance = 1 / classes
        self._agreeing += int(np.count_nonzero((own == other) & ~lost))
        self._probabilities &= bool(((b >= 0) & (b <= 1 + 1e-6)).all())
        highest, given = b[rows, own], b[rows, other]
        with np.errstate(invalid="ignore", over="ignore"):
            sure = np.nan_to_num(1 / np.exp(b - highest[:, None]).sum(axis=1))
            less = np.nan_to_num(sure * (1 - np.exp(given - highest)))
            self._sure += highest.sum(), sure.sum()
            self._lost += [float(np.where(lost, 1, each).sum()) for each in (highest - given, less)]

    def figures(self) -> tuple[float | None, float | None]:
        """Return agreement and expected drop; None of both where the values are too unsure to be scores."""
        if not self._places:
            return None, None
        kind = 0 if self._probabilities else 1
        if self._sure[kind] / self._places < self._chance + _SURE * (1 - self._chance):
            return None, None
        return self._agreeing / self._places, float(self._lost[kind]) / self._places
