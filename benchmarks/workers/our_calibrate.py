"""Our calibration alone: what static quantization of a prepared model needs to observe.

python -m benchmarks.workers.our_calibrate MODEL SAMPLES METHOD
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from compressctl.data.notation import open_source
from compressctl.model.load import interface, load_model
from compressctl.quantization.int8.calibration import observe
from compressctl.quantization.int8.plan import make_plan
from compressctl.quantization.int8.trainable import placement_of
from compressctl.resources import Resources
from compressctl.selection import Selection


def main(path: str, samples: str, method: Any) -> None:
    model = load_model(Path(path)).model
    source = open_source(samples, interface(model)[0])
    plan, _ = make_plan(model, "int8", Selection(), calibrated=True, embeddings=True)
    placement = placement_of(model, plan)
    tensors = [value.name or "" for value in placement.observed]
    inputs = sorted({node.inputs[0].name for node in placement.weighted})  # for bias correction
    resources = Resources(workdir=Path(gettempdir()), threads=0)
    observe(model, tensors, source, resources, method=method, channel_means=inputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
