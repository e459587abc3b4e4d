"""Observe activations on calibration samples: ranges, channel means and channel maxima, in one pass over them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats, Floats32
from compressctl.choices import RangeMethod
from compressctl.data.source import Batch, Source
from compressctl.errors import DataError
from compressctl.measure.session import Session
from compressctl.model.graph import remove_dead
from compressctl.notes import Note, warning
from compressctl.numerics.histogram import Histogram
from compressctl.numerics.ranges import Range, choose
from compressctl.quantization.int8.observers import Observed, Observer, observable
from compressctl.resources import Resources

_SAMPLED = 2**19  # values of a tensor that go into its histogram, of all calibration samples together
_IRRATIONAL = 1.0 + math.sqrt(5) / 200  # sampling distances that share no factor with the tensor's dimensions
_BATCH_ELEMENTS = 2**16  # input elements fed at once: batches of small samples, large images one by one
_LARGEST_BATCH = 8


@dataclass(frozen=True)
class Observations:
    """What calibration found out.

    Attributes:
        ranges: (low, high) of each observed tensor, low <= 0 <= high.
        channel_mean: float64 [channels] of each tensor asked for.
        channel_absmax: float32 [size of the last axis] of each tensor asked for.
        samples: how many samples were run.
        notes: tensors that never held an element.
    """

    ranges: Mapping[str, Range]
    channel_mean: Mapping[str, Floats]
    channel_absmax: Mapping[str, Floats32]
    samples: int
    notes: tuple[Note, ...] = ()


def observe(
    model: ir.Model,
    tensors: Collection[str],
    source: Source,
    resources: Resources,
    *,
    method: RangeMethod = "minmax",
    percentile: float = 99.999,
    batch_size: int | None = None,
    channel_means: Collection[str] = (),
    channel_absmax: Collection[str] = (),
) -> Observations:
    """Run the samples of `source` through `model` once and observe `tensors` on the way.

    Extrema are exact and computed inside onnxruntime. The other methods also look at half a million values of a tensor,
    spread evenly over the tensor and the samples, in a histogram. Memory does not grow with the number of samples.

    Args:
        model: left as it is.
        tensors: names of values of the main graph, or of bodies in it, whose ranges are wanted; any numeric type.
        source: the samples; padding rows of a fixed-batch model repeat a sample and count like it.
        resources: threads, work folder and progress: one tick a batch.
        method: how ranges are chosen, see `numerics.ranges`.
        percentile: for method percentile.
        batch_size: samples at once; by default few enough to fit memory. A fixed-batch model is fed its own.
        channel_means: names whose channel means are wanted: of axis 1 where a convolution reads the tensor, else of the
            last axis. Those in a Loop or Scan have none.
        channel_absmax: names of the main graph whose largest magnitudes along the last axis are wanted.

    Raises:
        ModelError: a tensor is not there, where it can be observed, or not numeric; onnxruntime cannot run the model.
        DataError: a tensor becomes NaN or infinite; data that do not fit; no samples at all.
    """
    clone = model.clone()
    observer = Observer(clone)
    for value in observable(clone.graph, channel_means).values():
        observer.channel_mean(value)
    for value in observable(clone.graph, channel_absmax).values():
        observer.channel_extrema(value)
    observed = observable(clone.graph, tensors)
    for value in observed.values():
        observer.extrema(value)
        if method != "minmax":
            observer.sample(value)
    remove_dead(clone)
    batch_size = batch_size or _fitting_batch(source)
    session = Session(clone, threads=resources.threads, workdir=resources.workdir, spinning="never")
    collected = _Collected(observer.observed, source)
    batches = resources.progress.track(
        source.batches(batch_size), "calibrating", math.ceil(len(source) / (source.fixed_batch or batch_size))
    )
    for batch in batches:
        collected.add(session, batch)
    if collected.samples == 0:
        raise DataError(f"{source.notation}: no samples to calibrate on")
    return Observations(
        ranges={name: choose(collected.histograms[name], method, percent=percentile) for name in observed},
        channel_mean=collected.means(),
        channel_absmax=collected.absmax,
        samples=collected.samples,
        notes=tuple(  # of a branch that no sample takes, who plans says more
            warning("the tensor had no elements in any calibration sample", name)
            for name, value in observed.items()
            if value.graph is clone.graph and collected.histograms[name].low > collected.histograms[name].high
        ),
    )


def _fitting_batch(source: Source) -> int:
    """Return a batch size at which overhead is small and so is memory, judged by the first sample."""
    first = next(source.batches(1), None)
    elements = sum(feed.size for feed in first.feeds.values()) if first is not None else 1
    return max(1, min(_LARGEST_BATCH, _BATCH_ELEMENTS // max(elements, 1)))


class _Collected:
    """What the observed of all batches so far add up to."""

    def __init__(self, observed: Observed, source: Source) -> None:
        self.observed = observed
        self.source = source
        self.samples = 0
        self.histograms = {name: Histogram() for name in observed.high}
        self.absmax: dict[str, Floats32] = {}
        self._sums: dict[str, Floats] = {}
        self._counts = dict.fromkeys(observed.mean, 0.0)

    def add(self, session: Session, batch: Batch) -> None:
        feeds = batch.feeds
        if self.observed.stride is not None:
            share = batch.count / len(self.source)
            feeds = {**feeds, self.observed.stride: np.asarray(_IRRATIONAL / (_SAMPLED * share), np.float64)}
        results = session.run(feeds)
        for name, histogram in self.histograms.items():
            self._extend(name, histogram, results)
        for name, output in self.observed.mean.items():
            mean = results[output].astype(np.float64)
            weight = float(results[self.observed.size[name]]) / max(mean.size, 1)
            if weight:
                self._check(name, mean)
                self._sums[name] = self._sums.get(name, 0.0) + mean * weight
                self._counts[name] += weight
        for name, output in self.observed.channel_low.items():
            largest = np.maximum(-results[output], results[self.observed.channel_high[name]])
            largest = np.maximum(largest, self.absmax.get(name, np.float32(0)))
            self._check(name, largest)
            self.absmax[name] = largest
        self.samples += batch.count

    def means(self) -> dict[str, Floats]:
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def _extend(self, name: str, histogram: Histogram, results: Mapping[str, Array]) -> None:
        observed = self.observed
        high = float(results[observed.high[name]])
        low = float(results[observed.low[name]]) if name in observed.low else 0.0
        if high == -math.inf and low >= 0.0:  # the extrema of no elements
            return
        nan = np.isnan(results[observed.sum[name]])  # the sum alone may overflow: it must not be NaN, that is all
        self._check(name, np.array([low, math.nan if nan else high]))
        histogram.cover(low, high)
        if name in observed.sample:
            sampled = results[observed.sample[name]]
            histogram.update(sampled[~np.isnan(sampled)])

    def _check(self, name: str, values: Array) -> None:
        if not np.all(np.isfinite(values)):
            kind = "NaN" if np.isnan(values).any() else "infinite"
            raise DataError(
                f"{self.source.notation}: tensor {name!r} becomes {kind} on calibration samples",
                f"of the batch that starts at sample {self.samples}",
            )
