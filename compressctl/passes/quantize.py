"""Quantize to INT8 in the form that onnxruntime runs fast.

`int8`: static. Activations get u8 Q/DQ pairs with ranges observed on calibration samples, weights become s8 (per
channel, zero point 0) behind a DequantizeLinear: convolutions, Gemm and weight MatMul, and what joins them (residual
Add, Concat, pooling, reshapes), so that onnxruntime runs integer kernels from end to end.
`int8-dynamic`: no data needed. Weight MatMul and Gemm become DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul, LSTM
becomes DynamicQuantizeLSTM, embedding tables become int8 rows with a scale each.
`auto`: per node the faster of the two: static for convolutions and what hangs on them, dynamic for the other weight
MatMuls, LSTM and embeddings. Without calibration data only the dynamic part.

Source: Jacob et al. 2018 (arXiv:1712.05877); ONNX operator specifications.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from compressctl.passes.base import Context, Outcome, PassConfig

if TYPE_CHECKING:
    import onnx_ir as ir

Scheme = Literal["auto", "int8", "int8-dynamic"]
CalibrationMethod = Literal["minmax", "percentile", "entropy", "mse"]
Target = Literal["auto", "vnni", "avx2", "arm64"]


class Config(PassConfig):
    """Options of `quantize`."""

    type: Literal["quantize"] = "quantize"
    scheme: Scheme = "auto"
    """int8 (static, needs calibration data), int8-dynamic (no data), or auto: per node the faster of the two."""
    calibration_method: CalibrationMethod = "minmax"
    """How activation ranges are chosen: minmax, percentile, entropy (KL divergence) or mse."""
    percentile: float = Field(default=99.999, gt=50, le=100)
    """Percent of the values kept inside the range by calibration_method percentile."""
    per_channel: bool = True
    """One weight scale per output channel; false: one per tensor."""
    bias_correction: bool = True
    """Correct biases for the mean error that rounding the weights brings (static only)."""
    embeddings: bool = True
    """Store embedding tables as int8 rows (dynamic and auto)."""
    include: tuple[str, ...] = ()
    """Quantize only nodes whose name matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """Never quantize nodes whose name matches one of these globs."""
    include_op: tuple[str, ...] = ()
    """Quantize only nodes of these op types."""
    exclude_op: tuple[str, ...] = ()
    """Never quantize nodes of these op types."""
    keep_float: int = Field(default=0, ge=0)
    """Keep this many of the most harmful layers in float (ranked by measured harm)."""
    target: Target = "auto"
    """The processor the model will run on: auto is this machine."""
    reduced_range: bool | None = None
    """7-bit weights, which cannot saturate on x86 without VNNI; default: on for target avx2."""


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Quantize `model` in place of the chosen nodes.

    Raises:
        UsageError: the scheme needs calibration data and there is none, or a glob matches nothing.
    """
    from compressctl.quantization.scheme import quantize

    return quantize(model, config, context)
