"""`compressctl quantize`."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer

from compressctl.cli import options as o
from compressctl.cli.run import Shared, runs_recipe
from compressctl.cli.training import trains
from compressctl.errors import UsageError
from compressctl.passes import qat as qat_pass
from compressctl.passes import quantize as pass_
from compressctl.passes import quantize_weights as weights_pass
from compressctl.passes import smooth_quant
from compressctl.recipe import COMMAND_LINE, build_recipe

_C = pass_.Config
_W = weights_pass.Config
_WEIGHTS_ALONE = get_args(weights_pass.Scheme)


@runs_recipe
@trains
def quantize(
    model: o.Model,
    output: o.Output,
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme",
            metavar="auto|int8|int8-dynamic|w4a8|…|fp16|int4|…",
            autocompletion=o.completing(*o.words(_C, "scheme"), *_WEIGHTS_ALONE),
            help=f"{o.describe(_C, 'scheme')} Weights alone: {', '.join(_WEIGHTS_ALONE)}; the model computes in float.",
            show_default=False,
        ),
    ] = None,
    qat: Annotated[
        bool,
        typer.Option(
            "--qat",
            help="Train the quantized graph (quantization-aware training); the options of training go with it.",
        ),
    ] = False,
    rounding: Annotated[
        str | None,
        typer.Option(
            "--rounding",
            metavar="nearest|adaround|hqq|gptq|awq",
            autocompletion=o.completing("nearest", "adaround", "hqq", "gptq", "awq"),
            help=f"{o.describe(_C, 'rounding')} Weights alone: {o.describe(_W, 'rounding')}",
            show_default=False,
        ),
    ] = None,
    adaround_steps: Annotated[int | None, o.option(_C, "adaround_steps")] = None,
    edges: Annotated[
        str | None,
        typer.Option(
            "--edges",
            metavar="int8|same",
            help=f"{o.describe(_C, 'edges')} Weights alone: {o.describe(_W, 'edges')}",
            show_default=False,
        ),
    ] = None,
    group_size: Annotated[str | None, o.option(_W, "group_size", metavar="N|channel|tensor")] = None,
    symmetric: Annotated[
        bool | None, typer.Option("--symmetric/--asymmetric", help=o.describe(_W, "symmetric"), show_default=False)
    ] = None,
    target_rows: Annotated[int | None, o.option(_W, "target_rows", metavar="N")] = None,
    damping: Annotated[float | None, o.option(_W, "damping")] = None,
    act_order: Annotated[
        bool | None, typer.Option("--act-order/--no-act-order", help=o.describe(_W, "act_order"), show_default=False)
    ] = None,
    calibration_method: Annotated[
        str | None, o.option(_C, "calibration_method", metavar="minmax|percentile|entropy|mse")
    ] = None,
    percentile: Annotated[float | None, o.option(_C, "percentile")] = None,
    per_channel: Annotated[
        bool | None, typer.Option("--per-channel/--per-tensor", help=o.describe(_C, "per_channel"), show_default=False)
    ] = None,
    bias_correction: Annotated[
        bool | None,
        typer.Option(
            "--bias-correction/--no-bias-correction", help=o.describe(_C, "bias_correction"), show_default=False
        ),
    ] = None,
    embeddings: Annotated[
        bool | None, typer.Option("--embeddings/--no-embeddings", help=o.describe(_C, "embeddings"), show_default=False)
    ] = None,
    simplify: Annotated[bool, typer.Option(help="Run the simplify pass first.")] = True,
    equalize: Annotated[bool, typer.Option(help="Run the equalize pass (cross-layer equalization) before.")] = False,
    smooth_alpha: Annotated[
        float | None,
        typer.Option(
            "--smooth-quant",
            metavar="ALPHA",
            min=0,
            max=1,
            help=f"Run smooth_quant before. {o.describe(smooth_quant.Config, 'alpha')}",
        ),
    ] = None,
    include: Annotated[list[str] | None, o.option(_C, "include", metavar="GLOB")] = None,
    exclude: Annotated[list[str] | None, o.option(_C, "exclude", metavar="GLOB")] = None,
    include_op: Annotated[list[str] | None, o.option(_C, "include_op", metavar="OP")] = None,
    exclude_op: Annotated[list[str] | None, o.option(_C, "exclude_op", metavar="OP")] = None,
    dynamic: Annotated[list[str] | None, o.option(_C, "dynamic", metavar="GLOB")] = None,
    keep_float: Annotated[int | None, o.option(_C, "keep_float", metavar="N")] = None,
    target: Annotated[str | None, o.option(_C, "target", metavar="auto|vnni|avx2|arm64")] = None,
    reduced_range: Annotated[
        bool | None,
        typer.Option("--reduced-range/--full-range", help=o.describe(_C, "reduced_range"), show_default=False),
    ] = None,
    *,
    training: dict[str, Any],
    shared: Shared,
) -> int:
    """Quantize a model, or its weights alone, in the form that onnxruntime runs fast, and measure what it brought.

    # INT8: activation ranges from samples; the result is judged, and the exit code says whether it keeps the budget
    compressctl quantize model.onnx -o small.onnx --calibrate 'train.npz[:256]' --data test.npz --metric top1 \\
        --max-accuracy-drop 0.02

    # A transformer or an LSTM needs no samples
    compressctl quantize model.onnx -o dynamic.onnx --scheme int8-dynamic

    # An eighth of the bytes, at the speed of the input
    compressctl quantize model.onnx -o int4.onnx --scheme int4

    # Weights of 4 bits on INT8 kernels, trained
    compressctl quantize model.onnx -o trained.onnx --scheme w4a8 --qat --train train.npz --data test.npz \\
        --metric top1 --epochs 2
    """
    passes: list[dict[str, Any]] = [{"type": "simplify"}] if simplify else []
    if equalize:
        passes.append({"type": "equalize"})
    if smooth_alpha is not None:
        passes.append({"type": "smooth_quant", "alpha": smooth_alpha})
    chosen = o.given(
        scheme=scheme,
        rounding=rounding,
        adaround_steps=adaround_steps,
        edges=edges,
        group_size=group_size,
        target_rows=target_rows,
        damping=damping,
        calibration_method=calibration_method,
        percentile=percentile,
        include=include,
        exclude=exclude,
        include_op=include_op,
        exclude_op=exclude_op,
        dynamic=dynamic,
        keep_float=keep_float,
        target=target,
    )
    switches = {
        "per_channel": per_channel,
        "bias_correction": bias_correction,
        "embeddings": embeddings,
        "symmetric": symmetric,
        "act_order": act_order,
        "reduced_range": reduced_range,
    }
    chosen |= {key: value for key, value in switches.items() if value is not None} | training
    alone = scheme in _WEIGHTS_ALONE
    known = (*get_args(pass_.Scheme), *_WEIGHTS_ALONE)
    if scheme is not None and scheme not in known:
        raise UsageError(f"--scheme must be one of {', '.join(known)}, not {scheme!r}")
    if qat and alone:
        raise UsageError(f"--qat trains integer kernels, which --scheme {scheme} does not use", "leave one of them out")
    config = qat_pass.Config if qat else _W if alone else _C
    for name in chosen:
        if name not in config.model_fields:
            raise UsageError(_misplaced(name, scheme, qat=qat))
    passes.append({"type": config.model_fields["type"].default, **chosen})
    content = {"model": model, "output": output, "passes": passes}
    if qat or scheme not in (None, "auto"):
        content["on_regression"] = "keep"  # the user forced the scheme: flag what is slower, do not undo it
    return shared.run(build_recipe({**content, **shared.recipe}, COMMAND_LINE))


def _misplaced(name: str, scheme: str | None, *, qat: bool) -> str:
    """Say why an option does not go with the pass that the others ask for."""
    flag = f"--{name.replace('_', '-')}"
    if qat:
        return f"{flag} does not go with --qat"
    if name in _C.model_fields:
        return f"{flag} does not go with --scheme {scheme}"
    if name in _W.model_fields:
        return f"{flag} needs a --scheme of weights alone: {', '.join(_WEIGHTS_ALONE)}"
    return f"{flag} needs --qat"
