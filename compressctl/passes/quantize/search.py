"""What a search may try of `quantize`: formats that compute on integers, and how sensitive layers are to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from compressctl.passes.quantize import Config
from compressctl.passes.space import Draw, Format, Params, PassSpace, Space, Stage, Subject
from compressctl.passes.static import NARROW, STATIC, observe_static, range_for_target, static_options
from compressctl.passes.training import has_torch
from compressctl.quantization.int8.apply import apply_plan
from compressctl.quantization.int8.plan import QuantizationPlan, make_plan, weight_grids
from compressctl.quantization.int8.quantizers import Settings
from compressctl.quantization.int8.sensitivity import rank
from compressctl.selection import Selection

_SAMPLES = 32


class QuantizeSpace(PassSpace):
    """The parameters `rounding` and `narrow_rounding`: a parameter has the same choices always."""

    def formats(self, subject: Subject) -> Iterator[Format]:
        static, dynamic = _static(subject), _dynamic(subject)
        yield from (Format(name, "integer") for name in STATIC if static)
        if static and dynamic:
            yield Format("auto", "integer")
        if dynamic:
            yield Format("int8-dynamic", "integer")

    def choices(self, subject: Subject) -> Mapping[str, tuple[Any, ...]]:
        return {"narrow_rounding": ("gptq", "adaround") if has_torch() else ("gptq",)}

    def draw(self, draw: Draw) -> None:
        if draw.format.name in STATIC and not draw.params.get("qat_epochs"):
            if draw.format.name in NARROW:
                draw.choice("narrow_rounding", draw.space.choices["narrow_rounding"])
            else:
                draw.choice("rounding", ("nearest", "gptq"))

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        kind, options = params["format"], static_options(params)
        narrow = kind in NARROW
        if space.format(params).kind != "integer":
            return
        if not params.get("qat_epochs"):
            rounding = params.get("narrow_rounding" if narrow else "rounding", "nearest")
            yield Stage.NUMBERS, Config(scheme=kind, rounding=rounding, keep_float=0, exclude=spared, **options)
        if narrow and spared:
            method = {key: value for key, value in options.items() if key != "first_last"}
            yield Stage.NUMBERS, Config(scheme="int8", keep_float=0, include=spared, **method)

    def starts(self, space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
        for place, kind in ((1, "int8"), (2, "auto"), (3, "int8-dynamic"), (4, "w4a8"), (11, "w3a8")):
            if space.has(kind):
                yield place, {"format": kind}
        if space.has("w4a8") and space.most_spared >= 2:
            yield 7, {"format": "w4a8", "first_last": "same", "spared": 2}

    def layers(self, subject: Subject) -> tuple[str, ...]:
        return _static(subject) or _dynamic(subject)

    def sensitivities(self, subject: Subject, layers: Sequence[str]) -> Mapping[str, float]:
        """Return the noise of weights of 4 bits, or of dynamic INT8."""
        model, context, source = subject.model, subject.context, subject.context.calibration or subject.samples
        if not layers or source is None:
            return {}
        plan = QuantizationPlan(static=tuple(layers)) if subject.calibrated else QuantizationPlan(dynamic=tuple(layers))
        options = Config(scheme="w4a8" if subject.calibrated else "int8-dynamic")
        grids = weight_grids(model, plan, options.scheme, "same")
        settings = Settings(True, False, range_for_target(options)[1], grids)
        observations = None
        if subject.calibrated:
            plan, observations = observe_static(model, plan, options, source, context, means=False)

        def build(part: QuantizationPlan) -> ir.Model:
            clone = model.clone()
            apply_plan(clone, part, observations, settings)
            return clone

        found = rank(build, plan, source, context, samples=_SAMPLES)
        return {sensitivity.layer: sensitivity.noise for sensitivity in found}


def _static(subject: Subject) -> tuple[str, ...]:
    if not subject.calibrated:
        return ()
    return make_plan(subject.model, "int8", Selection(), calibrated=True, embeddings=False)[0].static


def _dynamic(subject: Subject) -> tuple[str, ...]:
    calibrated = subject.calibrated
    return make_plan(subject.model, "int8-dynamic", Selection(), calibrated=calibrated, embeddings=True)[0].dynamic
