"""What each process of `torchrun` does in test_distributed: three trainings, one after the other."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.distributed import this_process
from compressctl.measure.metrics import parse_metric
from compressctl.training.checkpoint_paths import CheckpointPath
from compressctl.training.job import Training
from tests.graphs import weights
from tests.training.tiny import blobs, fit, mlp, normed, options, shared

KINDS = {"plain": partial(mlp, 1), "normed": normed, "shared": shared}


def trained(m: ir.Model, workdir: Path, checkpoint: CheckpointPath | None = None) -> Training:
    """Train a classifier on labels and a teacher, in all processes."""
    o = options(steps=12, evaluate_every=5, learning_rate=0.01, checkpoint_every=4)
    given = {"metric": parse_metric("top1"), "teachers": (mlp(2),), "checkpoint": checkpoint}
    return fit(m, blobs(), ["cross-entropy", "kl"], workdir, o, **given)


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), this_process().rank
    (folder / f"work{rank}").mkdir()
    for name, build in KINDS.items():
        m = build()
        result = trained(m, folder / f"work{rank}", CheckpointPath(folder / f"{name}.pt", "k", resume=True))
        scores = [row["held_out"] for row in result.history]
        np.savez(folder / f"{name}{rank}.npz", scores=scores, **weights(m))
