"""Do two models compute the same? Judged by running both in onnxruntime, as they are written, on the same feeds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.measure.session import Session
from compressctl.model.graph import constant

Arrays = Mapping[str, Array]
_TOLERANCE = {"float16": 1e-2, "bfloat16": 5e-2}  # relative to the largest value of an output
_FLOAT32_TOLERANCE = 1e-4
_OTHER_SHARE = 1e-3  # of the elements of an integer output: an ArgMax over nearly equal values may turn
_FED_BYTES = 1 << 16


class Runner:
    """Runs models that share most of their weights without serializing those: big float weights are fed as inputs.

    Args:
        feeds: an array for each input.
        threads: threads for onnxruntime.
    """

    def __init__(self, feeds: Arrays, threads: int = 1) -> None:
        self._feeds, self._threads = feeds, threads
        self._arrays: dict[int, tuple[ir.TensorProtocol, Array]] = {}  # by id of the tensor, which is kept alive

    def run(self, model: ir.Model) -> dict[str, Array]:
        """Return the outputs of `model`, without any optimisation of its graph.

        Raises:
            ModelError: onnxruntime cannot open or run it.
            DataError: the feeds do not fit its inputs.
        """
        fed = {name: self._array(value) for name, value in model.graph.initializers.items() if _can_be_fed(value)}
        shell = model.clone() if fed else model
        for name, array in fed.items():
            copy = shell.graph.initializers.pop(name)
            copy.const_value, copy.type = None, ir.TensorType(ir.DataType.from_numpy(array.dtype))
            copy.shape = ir.Shape(array.shape)
            shell.graph.inputs.append(copy)
        return Session(shell, threads=self._threads, optimize=False).run({**self._feeds, **fed})

    def _array(self, value: ir.Value) -> Array:
        tensor, array = value.const_value, None
        assert tensor is not None
        if id(tensor) not in self._arrays:
            array = constant(value)
            assert array is not None
            self._arrays[id(tensor)] = (tensor, array)
        return self._arrays[id(tensor)][1]


def difference(expected: Arrays, actual: Arrays) -> str | None:
    """Return in words how far `actual` is from `expected`, or None where it is no more than rounding explains.

    Floats may differ by 1e-4 of the largest value of the output (1e-2 in half precision), integers in one element of a
    thousand.
    """
    for name, want in expected.items():
        have = actual.get(name)
        if have is None or have.shape != want.shape or have.dtype != want.dtype:
            return f"output {name!r} is {_describe(have)} instead of {_describe(want)}"
        if not _is_float(want):
            share = float(np.mean(have != want)) if want.size else 0.0
            if share > _OTHER_SHARE:
                return f"output {name!r} differs in {share:.1%} of its elements"
            continue
        a, b = want.astype(np.float64), have.astype(np.float64)
        finite = np.isfinite(a)
        if not (np.array_equal(finite, np.isfinite(b)) and np.array_equal(a[~finite], b[~finite], equal_nan=True)):
            return f"output {name!r} is infinite or NaN elsewhere"
        scale = float(np.abs(a[finite]).max(initial=0.0))
        gap = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
        if gap > _TOLERANCE.get(want.dtype.name, _FLOAT32_TOLERANCE) * scale + np.finfo(np.float32).tiny:
            return f"output {name!r} differs by {gap:.2g}, where its largest value is {scale:.2g}"
    return None


def _can_be_fed(value: ir.Value) -> bool:
    """Whether kernels take the tensor as an input as well: onnxruntime's own operators want some weights constant."""
    tensor = value.const_value
    if tensor is None or tensor.nbytes < _FED_BYTES or value.is_graph_input() or value.is_graph_output():
        return False
    floats = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)
    return tensor.dtype in floats and all(user.domain == "" for user in value.consumers())


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f" or array.dtype.name in _TOLERANCE


def _describe(array: Array | None) -> str:
    return "missing" if array is None else f"{array.dtype.name}[{','.join(map(str, array.shape))}]"
