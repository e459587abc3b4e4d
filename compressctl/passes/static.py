"""What the passes that quantize statically share: the range of weights, the observation of activations, and what a
search may try."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.measure.machine import int8_target
from compressctl.notes import done
from compressctl.passes.base import Context
from compressctl.passes.space import Draw, Params, PassSpace
from compressctl.passes.static_options import StaticOptions
from compressctl.quantization import schemes
from compressctl.quantization.int8.calibration import Observations, observe
from compressctl.quantization.int8.plan import QuantizationPlan
from compressctl.quantization.int8.seen import seen_part
from compressctl.quantization.int8.trainable import placement_of
from compressctl.quantization.int8.uneven import taken_apart, uneven

STATIC = tuple(scheme.name for scheme in schemes.STATIC if scheme.searched)
NARROW = tuple(name for name in STATIC if schemes.SCHEMES[name].narrow)


class StaticSpace(PassSpace):
    """The parameters `calibration_method` and `first_last`."""

    ladders = (NARROW,)

    def draw(self, draw: Draw) -> None:
        if draw.format.name in STATIC:
            draw.choice("calibration_method", ("percentile", "mse", "minmax"))
        if draw.format.name in NARROW:
            draw.choice("first_last", get_args(schemes.FirstLast))


def static_options(params: Params) -> dict[str, Any]:
    """Return the options that these passes share, as far as they were drawn for the format."""
    return {name: params[name] for name in ("first_last", "calibration_method") if name in params}


def range_for_target(options: StaticOptions) -> tuple[str, bool]:
    """Return the processor that the model will run on, and whether its weights must keep to 7 bits."""
    target = int8_target() if options.target == "auto" else options.target
    return target, target == "avx2" if options.reduced_range is None else options.reduced_range


def observe_static(
    model: ir.Model,
    plan: QuantizationPlan,
    options: StaticOptions,
    source: Source,
    context: Context,
    *,
    means: bool,
    dynamic: bool = False,
) -> tuple[QuantizationPlan, Observations]:
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
    placement = placement_of(model, plan)
    inputs = {node.inputs[0].name or "" for node in placement.weighted if node.inputs[0] is not None}
    joined = taken_apart(placement)
    observed = placement.scale_of if joined else placement.observed  # each for itself, where scales may not be shared
    observations = observe(
        model,
        [value.name or "" for value in observed],
        source,
        context,
        method=options.calibration_method,
        percentile=options.percentile,
        channel_means=sorted(inputs) if means else (),
    )
    # Where only a part of the plan is carried out, a tensor may stand on its own that carries another's values here.
    carried = {value.name or "": observations.ranges[root.name or ""] for value, root in placement.scale_of.items()}
    observations = replace(observations, ranges={**carried, **observations.ranges})
    apart = uneven(joined, observations.ranges)
    plan = replace(plan, in_float=apart)
    told = [
        done("joined in float: its parts differ too much to share a scale of 8 bits", name) for name in sorted(apart)
    ]
    plan, notes = seen_part(model, plan, observations, dynamic=dynamic)
    return plan, replace(observations, notes=(*observations.notes, *told, *notes))
