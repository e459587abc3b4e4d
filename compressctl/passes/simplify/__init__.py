"""Simplify the graph without changing what it computes, so that it runs faster and quantizes well.

Constants are folded, shape arithmetic that exporters leave behind becomes constant, nodes without effect, duplicates
and dead ends go; pairs of Transposes and Reshapes cancel, also through the element-wise nodes between them; Pad,
BatchNormalization and per-channel arithmetic become part of the convolution or Gemm beside them; spatial means become
GlobalAveragePool; activations written out become Relu and Clip. Names of inputs, outputs and of what remains are kept.
The result is run against the original on calibration samples, or else on random numbers; a rewrite that deviates is
rolled back. Bodies of If, Loop and Scan lose what they compute from constants alone; else they stay as they are.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from compressctl.fields import Option
from compressctl.passes.base import PassConfig, Reads
from compressctl.passes.simplify.advice import advise

RuleName = Literal[
    "identity",
    "duplicates",
    "constants",
    "shape_arithmetic",
    "resizes",
    "sequences",
    "transposes",
    "reshapes",
    "slices",
    "pads",
    "batchnorm",
    "channel_arithmetic",
    "pooling",
    "sums",
    "gemm",
    "activations",
]
BATCH = 3


class Config(PassConfig):
    """Options of `simplify`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration",)
    prepares: ClassVar[bool] = True
    widens: ClassVar[bool] = False
    advise: ClassVar = advise
    examples: ClassVar[str] = """
    # The same answers from fewer nodes
    compressctl simplify model.onnx -o simple.onnx

    # A TorchScript file becomes ONNX on the way
    compressctl simplify model.pt -o converted.onnx --input input:1x1x8x8
    """

    type: Literal["simplify"] = "simplify"
    skip: Annotated[tuple[RuleName, ...], Option(flagless=True)] = ()
    """Rules that are not applied."""
    keep_metadata: bool = False
    """Keep what exporters write beside nodes and values: stack traces, with local paths, and names of modules."""

    def inferences(self, calibration: int, training: int) -> int:
        """A few samples, through the model before and after."""
        return 2 * BATCH
