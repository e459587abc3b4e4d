"""Cut channels, neurons and attention heads out of the graph, so that it gets smaller and faster on any hardware.

What computes a unit (a channel of a convolution, a neuron of Gemm, MatMul or a recurrent layer, a head of attention)
goes together with everything that reads it: units that a residual connection ties are one. `width` also cuts the
stream that a normalisation takes statistics across, such as a transformer's hidden size: that changes the others a
little. `block` takes out whole residual blocks. Shares are those of the model before the first prune pass (ratio) or of
the model as it was loaded (targets), so rounds of prune and finetune say how far they have come.

A target is met by the smallest cut that does: multiply-accumulates and size are counted on the cut model, latency is
measured beside the model as it was loaded, so that the result of target_latency depends on the machine.

Sources: structural dependencies, Fang et al. 2023 (arXiv:2301.12900); importances, see `importance`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compressctl.choices import Structure, UnitImportance
from compressctl.fields import Option
from compressctl.passes.base import Context, PassConfig, Reads, WeightForm
from compressctl.passes.prune.advice import advise

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.notes import Note


AMOUNTS = ("ratio", "target_macs", "target_size", "target_latency")


class Config(PassConfig):
    """Options of `prune`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "training", "evaluation")
    stopped_by: ClassVar[tuple[WeightForm, ...]] = ("packed", "static", "dynamic")
    telling: ClassVar[tuple[str, ...]] = ("ratio",)
    advise: ClassVar = advise

    type: Literal["prune"] = "prune"
    structure: tuple[Structure, ...] = Field(default=("channel", "neuron", "head"), min_length=1)
    """What to cut: channel, neuron, head, width (across normalisations); or block alone: whole residual blocks."""
    ratio: Annotated[
        Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] | None, Option(metavar="SHARE|auto", everyday=True)
    ] = None
    """Share of the units to remove, of what the model had before the first prune pass. auto: as much as
    max_accuracy_drop admits, first of the layers where it costs least."""
    target_macs: Annotated[float | None, Option(metavar="SHARE", everyday=True)] = Field(default=None, gt=0, lt=1)
    """Cut until this share of the input's multiply-accumulates is left."""
    target_size: Annotated[float | None, Option(metavar="SHARE", everyday=True)] = Field(default=None, gt=0, lt=1)
    """Cut until this share of the input's bytes is left."""
    target_latency: Annotated[float | None, Option(metavar="SHARE", everyday=True)] = Field(default=None, gt=0, lt=1)
    """Cut until this share of the input's latency is left, measured on this machine."""
    scope: Literal["layer", "global"] | None = None
    """layer: the same share of every layer; global: the units of all layers that matter least, for what they cost
    where there is a target. Default: layer for a ratio, global for a target."""
    importance: UnitImportance | None = None
    """By what units are ranked: l1, l2 or geometric-median of their weights, activation on samples, taylor or hessian
    of the loss by gradients (with torch), or random. Default: activation with samples to calibrate on, else l2."""
    round_to: int = Field(default=16, ge=1)
    """Leave multiples of this many units, of 4 in small layers: kernels are slow at odd numbers. Heads are not
    rounded."""
    reconstruct: bool | None = None
    """Fit the layers that are left to what they gave before, by least squares on samples; default: where there are
    calibration samples. Leave it out where the model is trained afterwards: it ends higher without."""
    sensitivity: bool = False
    """Measure what cutting each group of units alone costs, for the report; auto does so anyway."""
    sensitivity_samples: int = Field(default=128, ge=1)
    """Samples on which that is measured."""
    include: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Cut only units that nodes with these names make (globs)."""
    exclude: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Leave all units that nodes with these names make (globs)."""

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        given = [name for name in AMOUNTS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(AMOUNTS)}" + (f", not {' and '.join(given)}" if given else ""))
        if "block" in self.structure:
            if self.structure != ("block",):
                raise ValueError("block goes alone: cut blocks and other structures in two passes")
            fields = type(self).model_fields
            others = [name for name in fields if name not in ("type", "structure", "ratio")]
            changed = [name for name in others if getattr(self, name) != fields[name].default]
            if changed or self.ratio == "auto":
                raise ValueError(f"block takes a ratio alone, not {changed[0] if changed else 'auto'}")
        return self

    @classmethod
    def preview(cls, model: ir.Model, context: Context) -> tuple[Note, ...]:
        """Say how many units of each group can be cut."""
        from compressctl.passes.prune.run import cuttable

        return cuttable(model)
