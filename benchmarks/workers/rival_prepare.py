"""Pre-process a model as onnxruntime.quantization recommends.

python -m benchmarks.workers.rival_prepare MODEL OUTPUT
"""

from __future__ import annotations

import sys
from pathlib import Path

from onnxruntime.quantization.shape_inference import quant_pre_process


def prepare(model: Path, output: Path) -> None:
    """Write `model`, pre-processed, to `output`."""
    quant_pre_process(model, output, auto_merge=True)  # without it, it gives up on MiniLM's symbolic shapes


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), Path(sys.argv[2]))
