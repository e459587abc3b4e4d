"""`compressctl store`."""

from __future__ import annotations

from typing import Annotated, Any

from compressctl.cli.groups import passes
from compressctl.cli.run import Run


def store(shared: Run, chosen: Annotated[dict[str, Any], passes("store")]) -> int:
    """Store weights in fewer bytes without loss: few different values as codes, zeros left out.

    # Each weight in the form that takes fewest bytes
    compressctl store model.onnx -o small.onnx

    # One form for all; packed by entropy coding as well
    compressctl store model.onnx -o small.ccz --format codebook
    """
    # The model that runs is the same: a difference in speed is chance.
    return shared.compress([{"type": "store", **chosen}], on_regression="keep")
