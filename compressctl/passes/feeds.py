"""Inputs to run a model on, by passes that compare or measure it."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.data.random import random_feeds
from compressctl.data.source import Feeds, Source
from compressctl.measure.trial import fit_random
from compressctl.model.load import interface
from compressctl.passes.base import Context


def timed_feeds(model: ir.Model, context: Context, *, first: Source | None = None) -> Feeds:
    """Return feeds of an inference whose time counts: of the batch size that reports measure at."""
    return usual_feeds(model, context, context.batch_size, first=first)


def usual_feeds(model: ir.Model, context: Context, rows: int, *, first: Source | None = None) -> Feeds:
    """Return `rows` samples to run `model` on: of `first`, to measure accuracy on, to calibrate on, or random ones."""
    source = first or context.evaluation or context.calibration
    if source is not None:
        return source.first(rows)
    fit = context.fit or fit_random(model, interface(model)[0], threads=context.threads)
    return random_feeds(fit.inputs, rows, context.seed, fit.sizes, fit.limits)
