"""Plain inference of some samples, the least that any calibration can cost.

python -m benchmarks.workers.plain MODEL SAMPLES
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnxruntime

from benchmarks.samples import batches

BATCH = 8


def main(model: str, samples: str) -> None:
    session = onnxruntime.InferenceSession(model)
    for feeds in batches(Path(samples), [entry.name for entry in session.get_inputs()], BATCH):
        session.run(None, feeds)


if __name__ == "__main__":
    main(*sys.argv[1:])
