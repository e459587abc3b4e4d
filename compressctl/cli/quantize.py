"""`compressctl quantize`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressctl.cli.groups import RARE, passes
from compressctl.cli.options import words
from compressctl.cli.run import Run
from compressctl.errors import UsageError, flag

if TYPE_CHECKING:
    from compressctl.passes.base import PassConfig


def quantize(
    shared: Run,
    chosen: Annotated[dict[str, Any], passes("quantize", quantize_weights="Weights alone", qat=None)],
    qat: Annotated[
        bool,
        typer.Option(
            "--qat",
            help="Train the quantized graph (quantization-aware training); the options of training go with it.",
        ),
    ] = False,
    simplify: Annotated[bool, typer.Option(help="Run the simplify pass first."), RARE] = True,
    equalize: Annotated[
        bool, typer.Option(help="Run the equalize pass (cross-layer equalization) before."), RARE
    ] = False,
    smooth_alpha: Annotated[
        float | None,
        typer.Option(
            "--smooth-quant",
            metavar="ALPHA",
            min=0,
            max=1,
            help="Run smooth_quant before, with this share of the difficulty moved from activations into weights: 0.5"
            " splits it evenly, 1 moves all of it.",
        ),
        RARE,
    ] = None,
) -> int:
    """Quantize a model, or its weights alone, in the form that onnxruntime runs fast, and measure what it brought.

    # INT8: activation ranges from samples; the result is judged, and the exit code says whether it keeps the budget
    compressctl quantize model.onnx -o small.onnx --calibrate 'train.npz[:256]' --data test.npz --metric top1 \\
        --max-accuracy-drop 0.02

    # A transformer or an LSTM needs no samples
    compressctl quantize model.onnx -o dynamic.onnx --scheme int8-dynamic

    # A sixth of the bytes, about as fast
    compressctl quantize model.onnx -o int4.onnx --scheme int4

    # Weights of 4 bits on INT8 kernels, trained
    compressctl quantize model.onnx -o trained.onnx --scheme w4a8 --qat --train train.npz --data test.npz \\
        --metric top1 --epochs 2
    """
    from compressctl.passes.qat import Config as Trained
    from compressctl.passes.quantize import Config as Kernels
    from compressctl.passes.quantize_weights import Config as Weights

    scheme, alone = chosen.get("scheme"), words(Weights, "scheme")
    known = [*words(Kernels, "scheme"), *alone]
    if scheme is not None and scheme not in known:
        raise UsageError(f"--scheme must be one of {', '.join(known)}, not {scheme!r}")
    if qat and scheme in alone:
        raise UsageError(f"--qat trains integer kernels, which --scheme {scheme} does not use", "leave one of them out")
    config: type[PassConfig] = Trained if qat else Weights if scheme in alone else Kernels
    for name in chosen:
        if name in config.model_fields:
            continue
        if qat:
            raise UsageError(f"{flag(name)} does not go with --qat")
        if name in Kernels.model_fields:
            raise UsageError(f"{flag(name)} does not go with --scheme {scheme}")
        if name in Weights.model_fields:
            raise UsageError(f"{flag(name)} needs a --scheme of weights alone: {', '.join(alone)}")
        raise UsageError(f"{flag(name)} needs --qat")
    steps: list[dict[str, Any]] = [
        *([{"type": "simplify"}] if simplify else []),
        *([{"type": "equalize"}] if equalize else []),
        *([{"type": "smooth_quant", "alpha": smooth_alpha}] if smooth_alpha is not None else []),
        {"type": config.name(), **chosen},
    ]
    forced = qat or scheme not in (None, "auto")  # by the user: flag what is slower, do not undo it
    return shared.compress(steps, **({"on_regression": "keep"} if forced else {}))
