"""`compressctl finetune`."""

from __future__ import annotations

from typing import Annotated, Any

from compressctl.cli.groups import passes
from compressctl.cli.run import Run


def finetune(shared: Run, chosen: Annotated[dict[str, Any], passes("finetune")]) -> int:
    """Train a model further on data of yours, from the ONNX or TorchScript file itself.

    # On labelled samples
    compressctl finetune model.onnx -o better.onnx --train train.npz --data test.npz --metric top1 --epochs 2

    # An interrupted run goes on from its checkpoint
    compressctl finetune model.onnx -o better.onnx --train train.npz --data test.npz --metric top1 --epochs 2 --resume
    """
    # Weights change, nothing else: a difference in speed is chance.
    return shared.compress([{"type": "finetune", **chosen}], on_regression="keep")
