"""The work of the pass `quantize_weights`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log2
from typing import Any

import onnx_ir as ir

from compressctl.data.first import First
from compressctl.errors import UsageError
from compressctl.layers.unseen import unseen
from compressctl.model.scores import gives_words
from compressctl.model.tensor_file import TensorFiles
from compressctl.notes import Note, done, skipped, warning
from compressctl.numerics.grids import INT8
from compressctl.passes.base import Context, Outcome
from compressctl.passes.quantize_weights import Config, Rounding
from compressctl.quantization.int8.plan import first_and_last_layers
from compressctl.quantization.schemes import SCHEMES
from compressctl.quantization.weights import matmul_nbits
from compressctl.quantization.weights.awq import scale_inputs
from compressctl.quantization.weights.eight_bits import STYLE
from compressctl.quantization.weights.fp16 import store_fp16
from compressctl.quantization.weights.gptq import gptq_layers
from compressctl.quantization.weights.rounding import Rounded, Style
from compressctl.quantization.weights.storage import place
from compressctl.quantization.weights.targets import Target, targets

_SAMPLES = 1024  # that GPTQ and AWQ look at
_BLOCK = 32  # inputs, of 8 bits that stay packed: a scale costs them an eighth, and onnxruntime has no channels there
_GROUP, _WORDS_GROUP = 64, 32  # inputs; language models have outliers among their weights, which cost a group its steps


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Store the weights of `model` in few bits, in place.

    Raises:
        UsageError: the rounding needs samples and there are none, or a glob matches no node.
        ModelError: a weight holds NaN or infinity.
    """
    selection = config.selection
    selection.check(model.graph)
    files = TensorFiles(context.workdir)
    if SCHEMES[config.scheme].kind == "half":
        rows, told = store_fp16(model, config.scheme, selection, files)
        return Outcome(model, (*_summary(rows), *told), {"weights": rows})
    if config.rounding in ("gptq", "awq") and context.calibration is None:
        raise UsageError(f"rounding {config.rounding} needs calibration samples", "add --calibrate DATA")
    rounding = config.rounding
    if rounding is None:
        fits = SCHEMES[config.scheme].narrow and config.group_size != "tensor"
        rounding = "gptq" if context.calibration is not None and fits else "nearest"
    notes: list[Note] = []
    if rounding == "awq":
        styles, _ = _styles(model, config)
        notes += _scale_inputs(model, styles, context)
    styles, told = _styles(model, config)
    rows, more = _carry_out(model, styles, rounding, config, context, files)
    return Outcome(model, (*_summary(rows), *notes, *told, *more), {"rounding": rounding, "weights": rows})


def _styles(model: ir.Model, config: Config) -> tuple[list[tuple[Target, Style]], list[Note]]:
    """Return the weights to round, each with how, and notes on those that stay and on groups that do not divide."""
    grid = SCHEMES[config.scheme].grid
    assert grid is not None
    group = _WORDS_GROUP if gives_words(model) else _GROUP
    usual = Style(grid, config.group_size, config.offsets, config.rounding == "hqq", group)
    edges = first_and_last_layers(model.graph) if config.first_last == "int8" else set()
    found, notes = targets(model.graph, embeddings=config.embeddings)
    styles = []
    for target in found:
        if not config.selection.allows(*target.nodes):
            continue
        style = STYLE if any(node.name in edges for node in target.nodes) else usual
        if config.target_rows is not None and config.group_size is None and style.grid == INT8:
            packs = matmul_nbits.obstacle(target, _BLOCK) is None
            style = replace(style, granularity=_BLOCK) if packs else style
        _, told = style.size(target)
        if style.bytes(target) >= target.tensor.nbytes:
            notes.append(skipped("its weight is too small for that to save anything", target.name))
            continue
        if told is not None:
            notes.append(done(told, target.name))
        styles.append((target, style))
    return styles, notes


def _scale_inputs(model: ir.Model, styles: Sequence[tuple[Target, Style]], context: Context) -> Sequence[Note]:
    assert context.calibration is not None
    return scale_inputs(
        model,
        {layer.name: style.rounding(target) for target, style in styles for layer in target.layers},
        context.calibration,
        context,
        samples=_SAMPLES,
    )


def _carry_out(
    model: ir.Model,
    styles: Sequence[tuple[Target, Style]],
    rounding: Rounding,
    config: Config,
    context: Context,
    files: TensorFiles,
) -> tuple[list[dict[str, Any]], list[Note]]:
    """Round the weights and store them; return a row for the report a weight, and notes."""
    notes: list[Note] = []
    rows: list[dict[str, Any]] = []
    fitted = [pair for pair in styles if rounding == "gptq" and pair[0].obstacle is None]
    original = model.clone() if fitted else model
    for pair in context.progress.track([pair for pair in styles if pair not in fitted], "round weights"):
        target, style = pair
        if rounding == "gptq":
            notes.append(skipped(f"rounded to nearest, not by gptq: {target.obstacle}", target.name))
        rounded = style.round(target)
        rows.append(_row(target, rounded))
        notes += place(model, target, rounded, config.target_rows, files)
    if fitted:
        assert context.calibration is not None
        results, errors = gptq_layers(
            original,
            model,
            fitted,
            First(context.calibration, _SAMPLES),
            context,
            damping=config.damping,
            order=config.act_order,
        )
        for (target, _), rounded in zip(fitted, results, strict=True):
            known = target.name in errors
            rows.append(_row(target, rounded) | ({"output_error": errors[target.name]} if known else {}))
            notes += [] if known else [unseen(target.name, "rounded to the nearest")]
            notes += place(model, target, rounded, config.target_rows, files)
    return rows, notes


def _row(target: Target, rounded: Rounded) -> dict[str, Any]:
    return {
        "layer": target.name,
        "weight": target.value.name,
        "weights": rounded.codes.size,
        "bits": log2(rounded.levels.count),
        "group": rounded.size,
        "bytes": rounded.bytes,
    }


def _summary(rows: Sequence[dict[str, Any]]) -> tuple[Note, ...]:
    if not rows:
        return (warning("nothing was stored in fewer bits"),)
    weights, held = sum(row["weights"] for row in rows), sum(row["bytes"] for row in rows)
    text = f"{weights:,} weights in {len(rows)} tensors take {held:,} bytes now, {8 * held / weights:.2f} bits each"
    return (done(text),)
