"""What a starter recipe says of `quantize_weights`."""

from __future__ import annotations

from compressctl.passes.advice import Goal, ModelFacts, Option, Result, Step


def advise(model: ModelFacts, goal: Goal, trains: bool) -> Step | None:
    """Make a model small."""
    if goal != "small":
        return None
    return Step(
        {"type": "quantize_weights", "scheme": "int4"},
        "Weights in 4 bits, which onnxruntime unpacks when it loads the file: it computes in float, as fast as before. "
        "With calibration samples they are rounded by GPTQ, so that layers keep their outputs. Also: fp16, which loses "
        "next to nothing; int3, int2, ternary, which lose more. In place of this pass: cluster, low_rank.",
        (
            Option(("first_last: int8",), "8 bits for the first and the last layers, which are the most sensitive"),
            Option(("group_size: 32",), "smaller groups of weights that share a scale: more exact, and larger"),
        ),
        Result(
            suffix="int4",
            goal="small: about a sixth of the bytes, about as fast",
            bits=4.5,  # 4, and the scale and offset of each group
        ),
    )
