"""`compressctl prune`."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer

from compressctl.choices import Structure
from compressctl.cli.finetuning import Finetune, Training, finetuning
from compressctl.cli.groups import RARE, passes
from compressctl.cli.options import completing, given
from compressctl.cli.run import Run
from compressctl.errors import UsageError, flag

_STRUCTURES = (*get_args(Structure), "none")
_NORMS = ("batchnorm", "channel_arithmetic")  # the rules that fold them
_AMOUNTS = ("ratio", "keep", "target_macs", "target_size", "target_latency", "threshold", "nm")


def prune(
    shared: Run,
    chosen: Annotated[dict[str, Any], passes("prune", sparsify="With --structure none")],
    stored: Annotated[dict[str, Any], passes("store", only=("format",))],
    training: Training,
    structure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(_STRUCTURES),
            autocompletion=completing(*_STRUCTURES),
            help="What to cut: channels, neurons, heads, the width across normalisations; or block alone: whole"
            " residual blocks; or none: single weights become zero (the sparsify pass). Default: channel, neuron,"
            " head.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        float | None, typer.Option(help="Share of the units to keep, in place of --ratio.", show_default=False)
    ] = None,
    finetune: Finetune = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Cut and train in N rounds, of which the early ones cut more; needs --ratio and --finetune.",
            show_default=False,
        ),
        RARE,
    ] = None,
    simplify: Annotated[
        bool, typer.Option(help="Run the simplify pass first; with --finetune fold norms only afterwards."), RARE
    ] = True,
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
    from compressctl.passes.prune import Config as Cut
    from compressctl.passes.sparsify import Config as Zero

    chosen |= given({"ratio": _share(chosen.get("ratio")), "keep": keep})
    amounts = [name for name in _AMOUNTS if name in chosen]
    if len(amounts) != 1:
        said = f"by {', '.join(map(flag, amounts))}" if amounts else "nowhere"
        raise UsageError(f"how much to prune is said {said}", f"give one of {', '.join(map(flag, _AMOUNTS))}")
    if keep is not None:
        if not 0 < keep < 1:
            raise UsageError(f"--keep {keep:g} is not between 0 and 1")
        chosen["ratio"] = round(1 - chosen.pop("keep"), 12)
    single = structure == ["none"]
    if structure and "none" in structure and not single:
        raise UsageError("--structure none goes alone", "zero single weights and cut structures in two runs")
    if structure and not single:
        chosen["structure"] = structure
    if finetune is not None and not single and structure != ["block"]:
        chosen.setdefault("reconstruct", False)  # training that starts from fitted layers ends lower
    config = Zero if single else Cut
    for name in chosen:
        if name not in config.model_fields:
            raise UsageError(f"{flag(name)} {'does not go with' if single else 'needs'} --structure none")
    if stored and not single:
        raise UsageError("--format needs --structure none", "structures that are cut leave no zeros to store")
    trained = finetuning(finetune, training, shared)
    steps: list[dict[str, Any]] = []
    for part in _rounds(chosen, rounds, finetune):
        steps += [{"type": config.name(), **part}, *trained]
    if simplify and finetune is None:
        steps = [{"type": "simplify"}, *steps]
    elif simplify:  # what is cut trains better with its norms, which become part of the convolutions in the end
        steps = [{"type": "simplify", "skip": _NORMS}, *steps, {"type": "simplify"}]
    if single:
        steps.append({"type": "store", **stored})
    return shared.compress(steps, on_regression="keep", train=finetune)  # the user asked for the cut


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
