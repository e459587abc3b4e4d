"""Store weights in few bits; the model goes on computing in float, as fast as before.

`fp16`, `bf16`: every large float32 constant in 16 bits. `int8-weights`: 8 bits a weight, times a scale per channel.
`int4`, `int3`, `int2`: convolutions, Gemm, MatMul, recurrent layers and embeddings on 16, 8 or 4 values a group of
weights: integers times a scale, plus an offset. `ternary`: {-1, 0, 1} times a scale, five to a byte. `int1`: signs
times the mean magnitude of the channel (XNOR-Net).

onnxruntime decodes the weights once, as it loads the file, so only the file gets smaller. Embeddings are the exception:
their tables stay packed in memory, and the rows that are looked up are decoded. With `target_rows` of 1 to 8, products
of matrices compute on the packed weights (MatMulNBits), which is faster there, and slower elsewhere.

Where there are calibration samples, weights are rounded by GPTQ: layer after layer, so that each keeps its output,
biases included. That needs no labels, and takes the first 1,024 samples at most.

Sources: GPTQ, Frantar et al. 2022 (arXiv:2210.17323); AWQ, Lin et al. 2023 (arXiv:2306.00978); HQQ, Badri and Shaji
2023; ternary weights, Li et al. 2016 (arXiv:1605.04711); XNOR-Net, Rastegari et al. 2016 (arXiv:1603.05279).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from compressctl.errors import UsageError
from compressctl.passes.base import Context, Outcome, PassConfig, Reads, WeightForm

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.model.spool import Spool
    from compressctl.notes import Note
    from compressctl.quantization.weight_rounding import Rounded, Style
    from compressctl.quantization.weight_targets import Target

_SAMPLES = 1024  # that GPTQ and AWQ look at

Scheme = Literal["fp16", "bf16", "int8-weights", "int4", "int3", "int2", "ternary", "int1"]
Rounding = Literal["nearest", "hqq", "gptq", "awq"]


class Config(PassConfig):
    """Options of `quantize_weights`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration",)
    edits_weights: ClassVar[bool] = True

    type: Literal["quantize_weights"] = "quantize_weights"
    scheme: Scheme
    """How weights are stored: fp16, bf16, int8-weights, int4, int3, int2, ternary or int1 (signs)."""
    rounding: Rounding | None = None
    """nearest: with scales of least squared error; hqq: with offsets that leave outliers out of account; gptq: so that
    layers keep their outputs on samples; awq: nearest, after weights of large inputs were scaled up. Default: gptq
    where there are calibration samples and fewer than 8 bits, else nearest."""
    group_size: int | Literal["channel", "tensor"] | None = None
    """Weights of an output that share a scale, or channel: all of them, or tensor: all weights of a layer. Default: 64
    of int4, int3 and int2 in products of matrices and embeddings, else channel."""
    symmetric: bool | None = None
    """Scales without offsets: smaller, and less exact. Default: false for int4, int3 and int2; others have none."""
    edges: Literal["int8", "same"] = "same"
    """The first and the last layers get 8-bit weights, or same: they get as few bits as the others."""
    embeddings: bool = True
    """Store embedding tables so, too."""
    target_rows: int | None = Field(default=None, ge=1)
    """Rows that the model multiplies at a time in use (1: a token after the other). Up to 8, products of matrices
    compute on packed int4 weights, without offsets."""
    damping: float = Field(default=0.01, gt=0, le=1)
    """gptq: share of the mean second moment of a layer's inputs that is added to each; more trusts the samples less."""
    act_order: bool = True
    """gptq: round the weights of large inputs first."""
    include: tuple[str, ...] = ()
    """Only nodes whose name matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """Never nodes whose name matches one of these globs."""

    @property
    def offsets(self) -> bool:
        """Whether scales have offsets."""
        if self.symmetric is None:
            return self.scheme in ("int4", "int3", "int2") and self.target_rows is None
        return not self.symmetric

    @field_validator("group_size", mode="before")
    @classmethod
    def _is_group(cls, size: Any) -> Any:
        number = int(size) if str(size).isdecimal() else 0
        if size not in (None, "channel", "tensor") and (number < 8 or number & (number - 1)):
            raise ValueError("give a power of two from 8 on, channel or tensor")
        return size

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        set_ = self.model_fields_set - {"type", "scheme", "include", "exclude"}
        given = sorted(key for key in set_ if getattr(self, key) is not None)
        if self.scheme in ("fp16", "bf16") and given:
            raise ValueError(f"scheme {self.scheme} has no scales, so {given[0]} does not go with it")
        if self.scheme in ("ternary", "int1") and self.symmetric is False:
            raise ValueError(f"scheme {self.scheme} is symmetric")
        if self.rounding == "hqq" and not self.offsets:
            raise ValueError("rounding hqq finds offsets, so it needs int4, int3 or int2, not symmetric")
        if self.rounding == "gptq" and self.group_size == "tensor":
            raise ValueError("rounding gptq needs group_size channel or a number, not tensor")
        if self.target_rows is not None and self.scheme != "int4":
            raise ValueError("target_rows needs scheme int4")
        if self.target_rows is not None and self.offsets:
            raise ValueError("target_rows needs weights without offsets, so symmetric cannot be false")
        return self

    @property
    def form(self) -> WeightForm:
        """Packed: the model goes on computing in float."""
        return "packed"

    @property
    def limited(self) -> bool:
        """Whether some weights stay as they are because the options say so."""
        return super().limited or not self.embeddings


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Store the weights of `model` in few bits, in place.

    Raises:
        UsageError: the rounding needs samples and there are none, or a glob matches no node.
        ModelError: a weight holds NaN or infinity.
    """
    from compressctl.model.spool import Spool
    from compressctl.quantization.halves import store_halves

    allowed = _selection(model, config)
    spool = Spool(context.workdir)
    if config.scheme == "fp16" or config.scheme == "bf16":
        rows, told = store_halves(model, config.scheme, allowed, spool)
        return Outcome(model, (*_summary(rows), *told), {"weights": rows})
    if config.rounding in ("gptq", "awq") and context.calibration is None:
        raise UsageError(f"rounding {config.rounding} needs calibration samples", "add --calibrate DATA")
    rounding = config.rounding
    if rounding is None:
        fits = config.scheme != "int8-weights" and config.group_size != "tensor"
        rounding = "gptq" if context.calibration is not None and fits else "nearest"
    notes: list[Note] = []
    if rounding == "awq":
        styles, _ = _styles(model, config, allowed)
        notes += _scale_inputs(model, styles, context)
    styles, told = _styles(model, config, allowed)
    rows, more = _carry_out(model, styles, rounding, config, context, spool)
    return Outcome(model, (*_summary(rows), *notes, *told, *more), {"rounding": rounding, "weights": rows})


def _selection(model: ir.Model, config: Config) -> Callable[[ir.Node], bool]:
    """Return which nodes the user lets us touch.

    Raises:
        UsageError: a glob matches no node.
    """
    from compressctl.quantization.plan import Selection

    selection = Selection(config.include, config.exclude)
    selection.check(model.graph)
    return selection.allows


def _styles(
    model: ir.Model, config: Config, allowed: Callable[[ir.Node], bool]
) -> tuple[list[tuple[Target, Style]], list[Note]]:
    """Return the weights to round, each with how, and notes on those that stay and on groups that do not divide."""
    from compressctl.notes import done, skipped
    from compressctl.quantization.eight_bits import STYLE
    from compressctl.quantization.plan import edge_layers
    from compressctl.quantization.weight_rounding import GRIDS, Style
    from compressctl.quantization.weight_targets import targets

    assert config.scheme != "fp16" and config.scheme != "bf16"
    usual = Style(GRIDS[config.scheme], config.group_size, config.offsets, config.rounding == "hqq")
    edges = edge_layers(model.graph) if config.edges == "int8" else set()
    found, notes = targets(model.graph, embeddings=config.embeddings)
    styles = []
    for target in found:
        if not all(map(allowed, target.nodes)):
            continue
        style = STYLE if any(node.name in edges for node in target.nodes) else usual
        _, told = style.size(target)
        if style.bytes(target) >= target.tensor.nbytes:
            notes.append(skipped("its weight is too small for that to save anything", target.name))
            continue
        if told is not None:
            notes.append(done(told, target.name))
        styles.append((target, style))
    return styles, notes


def _scale_inputs(model: ir.Model, styles: Sequence[tuple[Target, Style]], context: Context) -> Sequence[Note]:
    from compressctl.quantization.weight_awq import scale_inputs

    assert context.calibration is not None
    return scale_inputs(
        model,
        {layer.name: style.rounding(target) for target, style in styles for layer in target.layers},
        context.calibration,
        samples=_SAMPLES,
        threads=context.threads,
        workdir=context.workdir,
        progress=context.progress,
    )


def _carry_out(
    model: ir.Model,
    styles: Sequence[tuple[Target, Style]],
    rounding: Rounding,
    config: Config,
    context: Context,
    spool: Spool,
) -> tuple[list[dict[str, Any]], list[Note]]:
    """Round the weights and store them; return a row for the report a weight, and notes."""
    from compressctl.layers.unseen import unseen
    from compressctl.notes import skipped
    from compressctl.quantization.weight_gptq import gptq_layers
    from compressctl.quantization.weight_storage import place

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
        notes += place(model, target, rounded, config.target_rows, spool)
    if fitted:
        assert context.calibration is not None
        results, errors = gptq_layers(
            original,
            model,
            fitted,
            context.calibration,
            damping=config.damping,
            order=config.act_order,
            samples=_SAMPLES,
            threads=context.threads,
            workdir=context.workdir,
            progress=context.progress,
        )
        for (target, _), rounded in zip(fitted, results, strict=True):
            known = target.name in errors
            rows.append(_row(target, rounded) | ({"output_error": errors[target.name]} if known else {}))
            notes += [] if known else [unseen(target.name, "rounded to the nearest")]
            notes += place(model, target, rounded, config.target_rows, spool)
    return rows, notes


def _row(target: Target, rounded: Rounded) -> dict[str, Any]:
    from math import log2

    return {
        "layer": target.name,
        "weight": target.value.name,
        "weights": rounded.codes.size,
        "bits": log2(rounded.levels.count),
        "group": rounded.size,
        "bytes": rounded.bytes,
    }


def _summary(rows: Sequence[dict[str, Any]]) -> tuple[Note, ...]:
    from compressctl.notes import done, warning

    if not rows:
        return (warning("nothing was stored in fewer bits"),)
    weights, held = sum(row["weights"] for row in rows), sum(row["bytes"] for row in rows)
    text = f"{weights:,} weights in {len(rows)} tensors take {held:,} bytes now, {8 * held / weights:.2f} bits each"
    return (done(text),)
