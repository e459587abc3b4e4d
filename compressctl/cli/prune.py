"""`compressctl prune`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from compressctl.cli import options as o
from compressctl.cli.finetuning import Distil, Finetune, finetuning
from compressctl.cli.run import Shared, runs_recipe
from compressctl.cli.training import trains
from compressctl.errors import UsageError
from compressctl.passes import prune as pass_
from compressctl.passes import sparsify
from compressctl.recipe import COMMAND_LINE, build_recipe

_C = pass_.Config
_S = sparsify.Config
_NORMS = ("batchnorm", "channel_arithmetic")  # the rules that fold them
_AMOUNTS = ("ratio", "keep", "target_macs", "target_size", "target_latency", "threshold", "nm")


@runs_recipe
@trains
def prune(
    model: o.Model,
    output: o.Output,
    structure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="channel|neuron|head|width|block|none",
            autocompletion=o.completing("channel", "neuron", "head", "width", "block", "none"),
            help=f"{o.describe(_C, 'structure')} none: single weights become zero (the sparsify pass).",
            show_default=False,
        ),
    ] = None,
    ratio: Annotated[str | None, o.option(_C, "ratio", metavar="SHARE|auto")] = None,
    keep: Annotated[
        float | None, typer.Option(help="Share of the units to keep, in place of --ratio.", show_default=False)
    ] = None,
    target_macs: Annotated[float | None, o.option(_C, "target_macs", metavar="SHARE")] = None,
    target_size: Annotated[float | None, o.option(_C, "target_size", metavar="SHARE")] = None,
    target_latency: Annotated[float | None, o.option(_C, "target_latency", metavar="SHARE")] = None,
    threshold: Annotated[float | None, o.option(_S, "threshold")] = None,
    nm: Annotated[str | None, o.option(_S, "nm", metavar="N:M")] = None,
    scope: Annotated[str | None, o.option(_C, "scope", metavar="layer|global")] = None,
    importance: Annotated[
        str | None,
        typer.Option(
            metavar="l2|activation|taylor|…",
            help=f"{o.describe(_C, 'importance')} With --structure none: {o.describe(_S, 'importance')}",
            show_default=False,
        ),
    ] = None,
    round_to: Annotated[int | None, o.option(_C, "round_to", metavar="N")] = None,
    reconstruct: Annotated[
        bool | None,
        typer.Option("--reconstruct/--no-reconstruct", help=o.describe(_S, "reconstruct"), show_default=False),
    ] = None,
    sensitivity: Annotated[bool, o.option(_C, "sensitivity")] = False,
    sensitivity_samples: Annotated[int | None, o.option(_C, "sensitivity_samples", metavar="N")] = None,
    format: o.Format = None,
    include: Annotated[list[str] | None, o.option(_C, "include", metavar="GLOB")] = None,
    exclude: Annotated[list[str] | None, o.option(_C, "exclude", metavar="GLOB")] = None,
    finetune: Finetune = None,
    distil: Distil = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Cut and train in N rounds, of which the early ones cut more; needs --ratio and --finetune.",
            show_default=False,
        ),
    ] = None,
    simplify: Annotated[
        bool, typer.Option(help="Run the simplify pass first; with --finetune fold norms only afterwards.")
    ] = True,
    *,
    training: dict[str, Any],
    shared: Shared,
) -> int:
    """Cut channels, neurons and attention heads out of a model, or zero single weights, and measure what it brought.

    # Cut until half of the multiply-accumulates are left, then train
    compressctl prune model.onnx -o small.onnx --target-macs 0.5 --finetune train.npz --epochs 2 --data test.npz \\
        --metric top1

    # Without labels: layers are fitted to keep their outputs
    compressctl prune model.onnx -o fitted.onnx --ratio 0.3 --calibrate 'train.npz[:256]'

    # Half of the weights become zero, two in each four; the file leaves them out
    compressctl prune model.onnx -o sparse.onnx --structure none --nm 2:4 --calibrate 'train.npz[:256]'
    """
    amounts = o.given(
        ratio=_share(ratio),
        keep=keep,
        target_macs=target_macs,
        target_size=target_size,
        target_latency=target_latency,
        threshold=threshold,
        nm=nm,
    )
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in amounts)
    if len(amounts) != 1:
        every = ", ".join(f"--{name.replace('_', '-')}" for name in _AMOUNTS)
        raise UsageError(f"how much to prune is said {'by ' + flags if flags else 'nowhere'}", f"give one of {every}")
    if keep is not None:
        if not 0 < keep < 1:
            raise UsageError(f"--keep {keep:g} is not between 0 and 1")
        amounts = {"ratio": round(1 - keep, 12)}
    single = structure == ["none"]
    if structure and "none" in structure and not single:
        raise UsageError("--structure none goes alone", "zero single weights and cut structures in two runs")
    chosen = amounts | o.given(
        scope=scope,
        importance=importance,
        round_to=round_to,
        sensitivity=sensitivity,
        sensitivity_samples=sensitivity_samples,
        include=include,
        exclude=exclude,
    )
    if reconstruct is not None:
        chosen["reconstruct"] = reconstruct
    elif finetune is not None and not single and structure != ["block"]:
        chosen["reconstruct"] = False  # training that starts from fitted layers ends lower
    if structure and not single:
        chosen["structure"] = structure
    config = _S if single else _C
    for name in chosen:
        if name not in config.model_fields:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} does not go with --structure none" if single else f"{flag} needs --structure none"
            )
    if format is not None and not single:
        raise UsageError("--format needs --structure none", "structures that are cut leave no zeros to store")
    trained = finetuning(finetune, distil, training, shared)
    passes: list[dict[str, Any]] = []
    for part in _rounds(chosen, rounds, finetune):
        passes.append({"type": config.model_fields["type"].default, **part})
        if trained is not None:
            passes.append(trained)
    if simplify and finetune is None:
        passes = [{"type": "simplify"}, *passes]
    elif simplify:  # what is cut trains better with its norms, which become part of the convolutions in the end
        passes = [{"type": "simplify", "skip": _NORMS}, *passes, {"type": "simplify"}]
    if single:
        passes.append({"type": "store", **o.given(format=format)})
    content = {"model": model, "output": output, "passes": passes}
    content["on_regression"] = "keep"  # the user asked for the cut
    if finetune is not None:
        content["train"] = finetune
    return shared.run(build_recipe({**content, **shared.recipe}, COMMAND_LINE))


def _share(text: str | None) -> float | str | None:
    """Return the number that an option gives, or auto."""
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--ratio {text!r} is neither a number nor auto") from None


def _rounds(chosen: dict[str, Any], rounds: int | None, finetune: str | None) -> list[dict[str, Any]]:
    """Return the options of the cut of each round."""
    ratio = chosen.get("ratio")
    if rounds is None:
        return [chosen]
    if finetune is None or not isinstance(ratio, float) or chosen.get("structure") == ["block"]:
        raise UsageError("--rounds needs --finetune DATA, and --ratio SHARE or --keep of anything but blocks")
    from compressctl.numerics.sparsity import cubic

    return [{**chosen, "ratio": round(part, 12)} for part in cubic(ratio, rounds)]
