"""`compressctl cluster`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from compressctl.cli.finetuning import Finetune, Training, finetuning
from compressctl.cli.groups import RARE, passes
from compressctl.cli.run import Run


def cluster(
    shared: Run,
    chosen: Annotated[dict[str, Any], passes("cluster")],
    stored: Annotated[dict[str, Any], passes("store", only=("format",))],
    training: Training,
    finetune: Finetune = None,
    simplify: Annotated[bool, typer.Option(help="Run the simplify pass first."), RARE] = True,
) -> int:
    """Let the weights of each layer share few values, store them as codes, and measure what it brought.

    # 16 values in each layer, placed so that layers keep their outputs
    compressctl cluster model.onnx -o small.onnx --clusters 16 --calibrate 'train.npz[:256]'

    # 8 values, trained, and judged
    compressctl cluster model.onnx -o trained.onnx --clusters 8 --finetune train.npz --epochs 2 --data test.npz \\
        --metric top1
    """
    trained = finetuning(finetune, training, shared)
    steps = [
        *([{"type": "simplify"}] if simplify else []),  # norms folded later would give each channel values of its own
        {"type": "cluster", **chosen},
        *trained,
        {"type": "store", **stored},
    ]
    return shared.compress(steps, on_regression="keep", train=finetune)  # the user asked for fewer values
