"""Quantize to INT8 in the form that onnxruntime runs fast.

`int8`: static. Activations get u8 Q/DQ pairs with ranges observed on calibration samples, weights become s8 (per
channel, zero point 0) behind a DequantizeLinear: convolutions, Gemm and weight MatMul, and what joins them (residual
Add, Concat, pooling, reshapes), so that onnxruntime runs integer kernels from end to end. Layers in bodies of If, Loop
and Scan are observed where they run: a branch that no sample takes gets 8-bit weights alone, and what iterates has
ranges of all iterations and no bias correction; rounding other than nearest is for layers of the main graph.
`int8-dynamic`: no data needed. Weight MatMul and Gemm become DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul,
LSTM becomes DynamicQuantizeLSTM, embedding tables become int8 rows with a scale each; the rest (convolutions, GRU, RNN)
computes in float on 8-bit weights.
`auto`: per node the fastest: as `int8-dynamic`, but static for convolutions and the layers behind them, where there is
calibration data; in bodies of If, Loop and Scan where the whole model was timed faster so. Convolutions whose better
form depends on shape and processor are timed on this machine; where samples show an output below 15 dB, or an agreement
below 95 %, the most sensitive layers become dynamic or compute in float; and where the result is slower than the input,
layers that lose compute in float. Of a language model, 8-bit weights computed in float are what it gets without
samples; with samples, products run on integers as far as its perplexity is expected to rise by no more than a tenth.
`w4a8`, `w3a8`, `w2a8`, `ternary-a8`, `w1a8`: as `int8`, but weights take few integers: 4, 3 or 2 bits, {-1, 0, 1} or
{-1, 1}, times a scale per channel of least squared error. They are packed in the file, and onnxruntime unpacks them to
int8 when it loads it, so that the same integer kernels run. `rounding` chooses the integers on calibration samples,
without labels: `gptq` in seconds, from up to 1,024 samples; `adaround` learns (with torch) from up to 512, block by
block, which weights to round up and which down.

Sources: Jacob et al. 2018 (arXiv:1712.05877); ONNX operator specifications; GPTQ, Frantar et al. 2022
(arXiv:2210.17323); AdaRound, Nagel et al. 2020 (arXiv:2004.10568); blocks as in BRECQ, Li et al. 2021
(arXiv:2102.05426).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compressctl.fields import Option
from compressctl.passes.base import Reads, WeightForm
from compressctl.passes.quantize.advice import advise
from compressctl.passes.static_options import StaticOptions
from compressctl.quantization.schemes import SCHEMES, STATIC, KernelScheme, names

_ADAROUND_BATCH = 32
_FEWER = names(tuple(scheme for scheme in STATIC if scheme.narrow))


class Config(StaticOptions):
    """Options of `quantize`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "evaluation")
    edits_weights: ClassVar[bool] = True
    telling: ClassVar[tuple[str, ...]] = ("scheme", "rounding")
    advise: ClassVar = advise

    type: Literal["quantize"] = "quantize"
    scheme: Annotated[KernelScheme, Option(everyday=True)] = Field(
        default="auto",
        description="int8 (static, needs calibration data), int8-dynamic (no data), auto: per node the faster of the"
        f" two or floats on 8-bit weights, or int8 with weights of fewer bits: {_FEWER}.",
    )
    bias_correction: bool = True
    """Correct biases for the mean error that rounding the weights brings (static only)."""
    rounding: Annotated[Literal["nearest", "gptq", "adaround"], Option(everyday=True)] = "nearest"
    """How static weights are rounded: nearest; gptq: layer by layer, each weight making up for those before it; or
    adaround: learned (with torch) so as to keep the output of each block of layers."""
    adaround_steps: int = Field(default=400, ge=1)
    """Steps of adaround a block of the model, 32 calibration samples each."""
    keep_float: Annotated[int | None, Option(everyday=True)] = Field(default=None, ge=0)
    """Keep this many of the most sensitive layers in float (ranked by measured sensitivity). Default: as few as
    max_accuracy_drop needs; none where there is no such budget."""
    dynamic: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Quantize nodes whose name matches one of these globs dynamically, not statically; only MatMul, Gemm and LSTM have
    such a form."""

    @property
    def form(self) -> WeightForm:
        """Integers; of auto, some may be dynamic."""
        return "static" if SCHEMES[self.scheme].kind == "static" and not self.dynamic else "dynamic"

    @property
    def needs(self) -> str | None:
        """A static scheme observes activations."""
        return f"scheme {self.scheme}" if SCHEMES[self.scheme].kind == "static" else None

    @property
    def limited(self) -> bool:
        """Whether layers stay in float because the options say so."""
        return super().limited or bool(self.keep_float) or not self.embeddings

    def inferences(self, calibration: int, training: int) -> int:
        """Observing the samples; adaround trains block after block, which together are the model."""
        learned = 3 * self.adaround_steps * _ADAROUND_BATCH if self.rounding == "adaround" else 0
        return calibration + (learned if calibration else 0)
