"""How close a model's outputs are to the baseline's, on the same samples: no labels needed."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressctl.data.source import Source
from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.progress import Progress, Silent


@dataclass(frozen=True)
class OutputFidelity:
    """One output of a result against the baseline's, over all its values on all samples.

    Attributes:
        name: the output.
        agreement: share of samples for which both have their highest value in the same column, for floating-point
            outputs [N, C] with C > 1; else None.
        count: number of samples.
        sqnr_db: signal-to-quantization-noise ratio, 10 log10(sum b² / sum (b - r)²); infinite where both are equal.
        cosine: of the angle between both, blind to scale.
        scale: slope s of the least-squares fit r = s b; 1 where the result is not too large or small as a whole.
        max_abs_error: the largest |b - r|, NaN or infinite where one is.
        baseline_non_finite, result_non_finite: values that are NaN or infinite. Infinities that both have alike are
            left out of the other figures; any other such value makes SQNR, cosine and scale NaN.
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


def fidelity(
    baseline: Session,
    result: Session,
    source: Source,
    batch_size: int,
    progress: Progress | None = None,
    *,
    most: int | None = None,
) -> tuple[OutputFidelity, ...]:
    """Compare each output of a result with the baseline's, batch by batch, on the first `most` samples or all.

    Raises:
        ModelError: the result lacks an output, gives it another shape, or a model fails.
        DataError: the samples do not fit the models.
    """
    given = [spec.name for spec in result.outputs]
    tallies = {}
    for spec in baseline.outputs:
        if spec.name not in given:
            raise ModelError(f"{result.name} lacks the output {spec.name!r}", f"it has {', '.join(given)}")
        tallies[spec.name] = _Tally(spec.name)
    size = source.fixed_batch or batch_size
    batches = -(-min(len(source), most or len(source)) // size)
    first = itertools.islice(source.batches(batch_size), batches)
    for batch in (progress or Silent()).track(first, "compare outputs", batches):
        rows = len(next(iter(batch.feeds.values())))
        expected = baseline.run(batch.feeds)
        actual = result.run(batch.feeds, list(tallies))
        for name, tally in tallies.items():
            tally.add(_real(expected[name], rows, batch.count), _real(actual[name], rows, batch.count), batch.count)
    return tuple(tally.fidelity() for tally in tallies.values())


class _Tally:
    """Running sums over one output, in float64."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._samples = self._agreeing = 0
        self._argmax = False
        self._bb = self._rr = self._br = self._noise = self._worst = 0.0
        self._non_finite = [0, 0]

    def add(self, baseline: NDArray[Any], result: NDArray[Any], samples: int) -> None:
        if baseline.shape != result.shape:
            shapes = f"{list(result.shape)} and {list(baseline.shape)}"
            raise ModelError(f"output {self._name!r} of the result and of the baseline differ in shape: {shapes}")
        try:
            b, r = baseline.astype(np.float64), result.astype(np.float64)
        except ValueError:
            raise ModelError(f"output {self._name!r} is text, which cannot be compared as numbers") from None
        self._samples += samples
        if baseline.ndim == 2 and baseline.shape[1] > 1 and baseline.dtype.kind not in "iub":
            self._argmax = True
            same = (b.argmax(axis=1) == r.argmax(axis=1)) & ~np.isnan(b).any(axis=1) & ~np.isnan(r).any(axis=1)
            self._agreeing += int(same.sum())
        for index, values in enumerate((b, r)):
            self._non_finite[index] += int(np.count_nonzero(~np.isfinite(values)))
        if any(self._non_finite):
            counted = ~(np.isinf(b) & (b == r))
            b, r = b[counted], r[counted]
        with np.errstate(invalid="ignore", over="ignore"):
            error = b - r
            self._bb += float(np.vdot(b, b))
            self._rr += float(np.vdot(r, r))
            self._br += float(np.vdot(b, r))
            self._noise += float(np.vdot(error, error))
            self._worst = float(np.max(np.abs(error), initial=self._worst))

    def fidelity(self) -> OutputFidelity:
        sqnr, cosine, scale = self._figures()
        return OutputFidelity(
            name=self._name,
            agreement=self._agreeing / self._samples if self._argmax else None,
            count=self._samples,
            sqnr_db=sqnr,
            cosine=cosine,
            scale=scale,
            max_abs_error=self._worst,
            baseline_non_finite=self._non_finite[0],
            result_non_finite=self._non_finite[1],
        )

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


def _real(output: NDArray[Any], rows: int, count: int) -> NDArray[Any]:
    """Drop the rows that pad a batch."""
    return output[:count] if output.ndim and len(output) == rows else output
