"""The proof of a conversion: random inputs, and what TorchScript makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressctl.arrays import Array
from compressctl.errors import ModelError


@dataclass(frozen=True)
class Check:
    """A batch of random inputs and what the ScriptModule returns for it, by input and by output name."""

    feeds: dict[str, Array]
    outputs: dict[str, Array]


def verify_checks(checks: Sequence[Check], run: Callable[[dict[str, Array]], Mapping[str, Array]], path: Path) -> None:
    """Compare what `run` (an onnxruntime session's, say) returns for each check with what TorchScript returned.

    A floating-point output may differ by 1e-4 of its largest magnitude (float16: 1e-2), any other not at all.

    Raises:
        ModelError: an output differs in shape or in value; names `path` and the output.
    """
    for check in checks:
        results = run(check.feeds)
        for name, expected in check.outputs.items():
            result = results[name]
            if result.shape != expected.shape:
                raise ModelError(
                    f"{path}: output {name} has shape {result.shape} in ONNX, {expected.shape} in TorchScript"
                )
            difference, largest = _difference(result, expected)
            relative = 0.0 if expected.dtype.kind != "f" else 1e-2 if expected.dtype.itemsize == 2 else 1e-4
            if not difference <= relative * largest:
                raise ModelError(
                    f"{path}: output {name} differs by {difference:.3g} between ONNX and TorchScript, "
                    f"where its largest value is {largest:.3g}"
                )


def _difference(result: Array, expected: Array) -> tuple[float, float]:
    """Return the largest difference of two arrays, and the largest finite magnitude of the second."""
    result, expected = result.astype(np.float64), expected.astype(np.float64)
    same = (result == expected) | (np.isnan(result) & np.isnan(expected))
    difference = np.abs(np.where(same, 0, result - expected))
    return float(difference.max(initial=0)), float(np.abs(expected[np.isfinite(expected)]).max(initial=0))
