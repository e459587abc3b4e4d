"""The rival's calibration alone: the ranges of all activations of a prepared model.

python -m benchmarks.workers.rival_calibrate MODEL SAMPLES METHOD [STRIDE]

STRIDE is `CalibStridedMinMax`: histograms are updated after so many batches, which bounds the memory. By default the
activations of all samples are kept until the end.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from benchmarks.workers.rival_quantize import METHODS, Reader


def main(model: str, samples: str, method: str, stride: str | None = None) -> None:
    logging.disable(logging.WARNING)
    reader = Reader(Path(model), Path(samples))
    step = int(stride) if stride else len(reader)
    ops = sorted({*QLinearOpsRegistry, *QDQRegistry})
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(model, ops, str(Path(folder) / "augmented.onnx"), METHODS[method])
        for start in range(0, len(reader), step):
            reader.set_range(start, start + step)
            calibrator.collect_data(reader)
        calibrator.compute_data()


if __name__ == "__main__":
    main(*sys.argv[1:])
