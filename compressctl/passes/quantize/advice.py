"""What a starter recipe says of `quantize`."""

from __future__ import annotations

from compressctl.passes.advice import Goal, ModelFacts, Option, Result, Step

NARROW = Result(  # of weights of 4 bits on INT8 kernels, trained or not
    suffix="w4a8",
    goal="both small and fast: INT8 arithmetic on weights of 4 bits",
    bits=5,  # the first and the last layers keep 8
    calibrated=True,
)


def advise(model: ModelFacts, goal: Goal, trains: bool) -> Step | None:
    """Make a model fast; and small as well, where it cannot be trained."""
    if goal == "fast":
        return _fast(model)
    return _both() if goal == "both" and not trains else None


def _fast(model: ModelFacts) -> Step:
    scheme = "int8" if not model.dynamic else "auto" if model.static else "int8-dynamic"
    whys = {
        "int8": "Integer kernels from end to end; the ranges of activations come from the calibration samples.",
        "int8-dynamic": "Weights become integers now, activations as they come: no samples are needed.",
        "auto": f"Per node the faster of the two: {model.static} layers static, {model.dynamic} dynamic.",
    }
    others = ", ".join(name for name in whys if name != scheme)
    also = f"Also: {others}; w4a8 for 4-bit weights on the same kernels."
    static = Option(
        ("calibration_method: mse",),
        "another choice of activation ranges: mse, minmax, entropy (percentile is the default)",
    )
    return Step(
        {"type": "quantize", "scheme": scheme},
        f"{whys[scheme]} {also}",
        (
            *([static] if model.static else []),
            Option(("keep_float: 2",), "float for the two layers that quantization harms most"),
        ),
        Result(
            suffix="int8",
            goal="fast: INT8 arithmetic, and about a quarter of the bytes",
            bits=8,
            calibrated=model.static > 0,
        ),
    )


def _both() -> Step:
    return Step(
        {"type": "quantize", "scheme": "w4a8", "rounding": "gptq"},
        "4-bit weights on INT8 kernels, rounded so that layers keep their outputs on the calibration samples. "
        "Training (`train:`, pass qat) brings back more of what rounding costs.",
        (Option(("first_last: same",), "4 bits for the first and the last layers, too, which keep 8 by default"),),
        NARROW,
    )
