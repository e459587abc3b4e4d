"""TorchScript at the door: a ScriptModule becomes an ONNX graph with its parameters' names and BatchNorm kept.

The module is exported by `torch.export` through an interpreter of its graph, with the batch as a dynamic dimension.
Where control flow depends on data, torch's older exporter takes over, which knows If and Loop. Only this package
imports torch, and only when a file is converted.
"""

from __future__ import annotations

from compressctl.model.torchscript.checks import Check, verify_checks
from compressctl.model.torchscript.convert import convert

__all__ = ["Check", "convert", "verify_checks"]
