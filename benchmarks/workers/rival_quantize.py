"""Quantize a model with onnxruntime.quantization, after its recommended pre-processing.

python -m benchmarks.workers.rival_quantize static MODEL OUTPUT --calibrate SAMPLES [options]
python -m benchmarks.workers.rival_quantize static MODEL OUTPUT --feeds FEEDS [options]
python -m benchmarks.workers.rival_quantize dynamic MODEL OUTPUT [--per-channel]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from benchmarks.samples import Arrays, batches
from benchmarks.workers.plain import BATCH
from benchmarks.workers.rival_prepare import prepare

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
ACTIVATIONS = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}


class Reader(CalibrationDataReader):
    """Feeds batches; knows ranges of them, as `CalibStridedMinMax` asks."""

    def __init__(self, found: list[Arrays]) -> None:
        self._batches = found
        self.set_range(0, len(self))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter(self._batches[start_index:end_index])

    def get_next(self) -> Arrays | None:
        return next(self._left, None)


def _batches(model: Path, options: argparse.Namespace) -> list[Arrays]:
    """Return the samples in batches, or feeds as they are: arrays NUMBER/INPUT."""
    names = [entry.name for entry in onnx.load(model, load_external_data=False).graph.input]
    if options.feeds is None:
        return list(batches(options.calibrate, names, BATCH))
    with np.load(options.feeds) as file:
        return [{name: file[f"{i}/{name}"] for name in names} for i in range(len(file.files) // len(names))]


def main() -> None:
    options = _arguments()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        prepare(options.model, prepared)
        if options.scheme == "dynamic":
            quantize_dynamic(prepared, options.output, per_channel=options.per_channel)
            return
        quantize_static(
            prepared,
            options.output,
            Reader(_batches(prepared, options)),
            op_types_to_quantize=options.only_op,
            per_channel=options.per_channel,
            activation_type=ACTIVATIONS[options.activations],
            calibrate_method=METHODS[options.method],
            extra_options={"MatMulConstBOnly": True} if options.only_op else None,
        )


def _arguments() -> argparse.Namespace:
    """The defaults are those of quantize_static and quantize_dynamic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scheme", choices=["static", "dynamic"])
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--calibrate", type=Path)
    parser.add_argument("--feeds", type=Path)
    parser.add_argument("--method", choices=METHODS, default="minmax")
    parser.add_argument("--activations", choices=ACTIVATIONS, default="s8")
    parser.add_argument("--per-channel", action="store_true")
    parser.add_argument("--only-op", action="append")
    return parser.parse_args()


if __name__ == "__main__":
    main()
