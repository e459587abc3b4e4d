"""What the passes that quantize statically share: their options, and the observation of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from compressctl.passes.base import Context, PassConfig

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.data.source import Source
    from compressctl.quantization.calibration import Observations
    from compressctl.quantization.plan import Plan, Selection

CalibrationMethod = Literal["minmax", "percentile", "entropy", "mse"]
Target = Literal["auto", "vnni", "avx2", "arm64"]


class StaticOptions(PassConfig):
    """Options of static quantization."""

    calibration_method: CalibrationMethod = "percentile"
    """How activation ranges are chosen: minmax, percentile, entropy (KL divergence) or mse."""
    percentile: float = Field(default=99.999, gt=50, le=100)
    """Percent of the values kept inside the range by calibration_method percentile."""
    per_channel: bool = True
    """One weight scale per output channel; false: one per tensor."""
    edges: Literal["int8", "same"] = "int8"
    """Schemes of fewer than 8 bits: the first and the last layers keep 8-bit weights, or same: they get as few too."""
    embeddings: bool = True
    """Store embedding tables as int8 rows."""
    include: tuple[str, ...] = ()
    """Quantize only nodes whose name matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """Never quantize nodes whose name matches one of these globs."""
    include_op: tuple[str, ...] = ()
    """Quantize only nodes of these op types."""
    exclude_op: tuple[str, ...] = ()
    """Never quantize nodes of these op types."""
    target: Target = "auto"
    """The processor the model will run on: auto is this machine."""
    reduced_range: bool | None = None
    """8-bit weights in 7 bits, which cannot saturate on x86 without VNNI; default: on for target avx2."""

    def selection(self) -> Selection:
        """Return which nodes may be quantized."""
        from compressctl.quantization.plan import Selection

        return Selection(self.include, self.exclude, self.include_op, self.exclude_op)

    def range_for_target(self) -> tuple[str, bool]:
        """Return the processor that the model will run on, and whether its weights must keep to 7 bits."""
        from compressctl.measure.machine import int8_target

        target = int8_target() if self.target == "auto" else self.target
        return target, target == "avx2" if self.reduced_range is None else self.reduced_range


def observe_static(
    model: ir.Model,
    plan: Plan,
    options: StaticOptions,
    source: Source,
    context: Context,
    *,
    means: bool,
    dynamic: bool = False,
) -> tuple[Plan, Observations]:
    """Observe, in one pass over `source`, what the static part of the plan needs; return what it can be for, too.

    Args:
        model: left as it is.
        plan: made for it.
        options: how ranges are chosen.
        source: the samples.
        context: threads, work folder and progress.
        means: whether bias correction will need the means of the layers' inputs.
        dynamic: what becomes of layers that no sample reaches: see `seen_part`.
    """
    from dataclasses import replace

    from compressctl.quantization.calibration import observe
    from compressctl.quantization.seen import seen_part
    from compressctl.quantization.trainable import placement_of

    placement = placement_of(model, plan)
    inputs = {node.inputs[0].name or "" for node in placement.weighted if node.inputs[0] is not None}
    observations = observe(
        model,
        [value.name or "" for value in placement.observed],
        source,
        method=options.calibration_method,
        percentile=options.percentile,
        channel_means=sorted(inputs) if means else (),
        threads=context.threads,
        workdir=context.workdir,
        progress=context.progress,
    )
    # Where only a part of the plan is carried out, a tensor may stand on its own that carries another's values here.
    carried = {value.name or "": observations.ranges[root.name or ""] for value, root in placement.scale_of.items()}
    observations = replace(observations, ranges={**observations.ranges, **carried})
    plan, notes = seen_part(model, plan, observations, dynamic=dynamic)
    return plan, replace(observations, notes=(*observations.notes, *notes))
