"""Which passes suit a model, and why: a few rules, each with what else to try."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, Literal

from compressctl.notes import Note, done, skipped, warning
from compressctl.starter.model import ModelFacts

Goal = Literal["fast", "small", "both"]

_COMPRESSED = 1.5  # bytes a weight; below that weights are in 8 bits or less already
_TINY = 16_384  # bytes of weights that are of the order of what a quantized model adds in scales and names


@dataclass(frozen=True)
class Option:
    """Lines of YAML that may be added, and why one would."""

    lines: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Step:
    """A pass.

    Attributes:
        keys: of the recipe, `type` first.
        why: it stands here.
        options: further keys of it to try.
        before: passes to try in front of it.
    """

    keys: dict[str, Any]
    why: str
    options: tuple[Option, ...] = ()
    before: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Advice:
    """What to do with a model.

    Attributes:
        steps: the passes.
        suffix: of the output's name.
        goal: what this reaches, in words.
        ratio: size to expect over that of the input.
        calibrated: whether the passes need samples for calibration.
        notes: what the user should know before anything runs.
    """

    steps: tuple[Step, ...]
    suffix: str
    goal: str
    ratio: float
    calibrated: bool = False
    notes: tuple[Note, ...] = ()


def advise(model: ModelFacts, goal: Goal, *, trains: bool) -> Advice:
    """Choose the passes for a model; `trains`: there are samples to train on."""
    if model.packed or model.bytes < _COMPRESSED * model.parameters:
        return _compressed(model)
    notes = []
    if model.quantized:
        notes.append(warning(f"quantized already at {model.quantized} nodes; passes leave those as they are"))
    if model.bytes < _TINY:
        notes.append(
            warning(f"tiny: {model.bytes:,} bytes of weights; scales, names and nodes take about as much as is saved")
        )
    if goal != "small" and not model.static + model.dynamic:
        notes.append(skipped("no layer of this model would run on integers: only its weights get smaller"))
        goal = "small"
    if goal == "both" and model.recurrent > 0.5:
        notes.append(skipped("recurrent layers run on 8-bit weights, not on fewer: goal fast in place of both"))
        goal = "fast"
    choose = {"fast": _fast, "small": _small, "both": _both}[goal]
    return choose(model, trains, tuple(notes))


def _simplify(model: ModelFacts) -> Step:
    folds = "BatchNorm becomes part of the convolutions" if model.norms else "constants and nodes that cancel go"
    return Step(
        {"type": "simplify"}, f"An equal graph with fewer nodes: {folds}. Integer kernels form better after it."
    )


def _fast(model: ModelFacts, trains: bool, notes: tuple[Note, ...]) -> Advice:
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
    prune = Option(
        ("- type: prune", "  target_macs: 0.5", "- type: finetune", "  epochs: 3"),
        "before that, cut half of the multiply-accumulates, and train what is left",
    )
    step = Step(
        {"type": "quantize", "scheme": scheme},
        f"{whys[scheme]} {also}",
        (
            *([static] if model.static else []),
            Option(("keep_float: 2",), "float for the two layers that quantization harms most"),
        ),
        (prune,) if trains and model.kind == "convolutional network" else (),
    )
    return Advice(
        steps=(_simplify(model), step),
        suffix="int8",
        goal="fast: INT8 arithmetic, and about a quarter of the bytes",
        ratio=model.expected_ratio(8),
        calibrated=model.static > 0,
        notes=notes,
    )


def _small(model: ModelFacts, trains: bool, notes: tuple[Note, ...]) -> Advice:
    step = Step(
        {"type": "quantize_weights", "scheme": "int4"},
        "Weights in 4 bits, which onnxruntime unpacks when it loads the file: it computes in float, as fast as before. "
        "With calibration samples they are rounded by GPTQ, so that layers keep their outputs. Also: fp16, which loses "
        "next to nothing; int3, int2, ternary, which lose more. In place of this pass: cluster, low_rank.",
        (
            Option(("edges: int8",), "8 bits for the first and the last layers, which are the most sensitive"),
            Option(("group_size: 32",), "smaller groups of weights that share a scale: more exact, and larger"),
        ),
    )
    return Advice(
        steps=(_simplify(model), step),
        suffix="int4",
        goal="small: an eighth of the bytes, at the speed of the input",
        ratio=model.expected_ratio(4.5),  # 4, and the scale and offset of each group
        notes=notes,
    )


def _both(model: ModelFacts, trains: bool, notes: tuple[Note, ...]) -> Advice:
    if trains:
        step = Step(
            {"type": "qat", "scheme": "w4a8", "epochs": 3},
            "4-bit weights on INT8 kernels, trained with their rounding in the graph, towards the original's answers. "
            "Also: w3a8, w2a8, ternary-a8, with more epochs.",
            (Option(("augment: [flip, crop]",), "photographs that are mirrored and shifted at random"),),
        )
    else:
        step = Step(
            {"type": "quantize", "scheme": "w4a8", "rounding": "gptq"},
            "4-bit weights on INT8 kernels, rounded so that layers keep their outputs on the calibration samples. "
            "Training (`train:`, pass qat) brings back more of what rounding costs.",
            (Option(("edges: same",), "4 bits for the first and the last layers, too, which keep 8 by default"),),
        )
    return Advice(
        steps=(_simplify(model), step),
        suffix="w4a8",
        goal="both small and fast: INT8 arithmetic on weights of 4 bits",
        ratio=model.expected_ratio(5),  # the first and the last layers keep 8 bits
        calibrated=True,
        notes=notes,
    )


def _compressed(model: ModelFacts) -> Advice:
    each = model.bytes / model.parameters
    undo = f"`compressctl store {shlex.quote(model.path)} -o plain.onnx --format dense` unpacks them"
    step = Step(
        {"type": "store"},
        "Bit for bit the same weights, stored where they take fewer bytes: few values as codes, zeros left out.",
    )
    return Advice(
        steps=(step,),
        suffix="stored",
        goal="the same model in fewer bytes, without loss; with an output that ends in .ccz, coded by entropy as well",
        ratio=1.0,
        notes=(
            warning(f"compressed already: {each:.2f} bytes a weight; start from the float model to get further"),
            *([done(f"weights are stored packed; {undo}")] if model.packed else []),
            done("what is left to do is lossless"),
        ),
    )
