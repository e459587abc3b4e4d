"""Write a small untrained network of the digits, to be distilled: `python -m sample_models.student --seed 0 OUT.onnx`.

It has 3,402 parameters, a sixteenth of those of `cnn.onnx`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from sample_models.export import save_onnx
from sample_models.models import Student


def write_student(seed: int, path: Path) -> None:
    """Write the network with random weights; the same seed gives the same bytes."""
    torch.manual_seed(seed)
    save_onnx(Student().eval(), torch.zeros(3, 1, 8, 8), path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a small untrained network of the digits.")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights")
    parser.add_argument("out", type=Path, help="the ONNX file to write")
    arguments = parser.parse_args()
    write_student(arguments.seed, arguments.out)


if __name__ == "__main__":
    main()
