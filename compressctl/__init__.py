"""compressctl: command-line model compression. ONNX or TorchScript in; a smaller, faster, proven ONNX file out."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compressctl.api import BenchReport, Recipe, Report, bench, load_recipe, load_recipes, load_report, run

__all__ = ["BenchReport", "Recipe", "Report", "bench", "load_recipe", "load_recipes", "load_report", "run"]

# Said before anything imports onnxruntime, in this process or in those that it starts: onnxruntime's own switch
# comes after the import, which by then has written a device id under the user's home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Return what `api` has of this name: it is imported when asked for, so that the command line starts fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.api"), name)
