"""The node tests of the ONNX specification, run by the executor."""

import importlib
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx.backend.test.case import node as cases_package
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.runner import Runner

from compressctl.torchexec.module import GraphModule
from compressctl.torchexec.ops import OPS
from compressctl.torchexec.tensors import from_numpy, to_numpy

# Pattern of names of cases -> why the executor is not held to them. The first pattern that fits counts.
EXCLUDED = {
    r"bernoulli|training_dropout_(default|mask$)|training_dropout$": "random numbers of numpy's generator",
    r"FLOAT4E2M1|FLOAT6E|float4e2m1": "floats of 4 or 6 bits",
    r"FLOAT8E8M0": "floats of an exponent alone",
    r"castlike_.*_to_U?INT[24]$": "type known by a value, which is held in 8 bits",
    r"equal_string": "strings",
    r"if_opt|loop16_seq_none": "optional types as values of their own",
    r"scan_sum": "Scan of opset 8",
    r"attention_4d_(fp16|causal_fp16(_expanded)?)$": "one unit in the last place of float16",
    r"basic_deform_conv_with_padding|dft_inverse": "expected value is rounding noise, or ours is",
}
# Operators that stand for a reason of their own.
_STRINGS = {"RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"}
_AS_BYTES = {"int4": np.int8, "uint4": np.uint8, "int2": np.int8, "uint2": np.uint8}


def cases_of(module: str) -> list[TestCase]:
    """Return the cases that a module of onnx's suite defines; it computes them whenever it is executed."""
    name = f"{cases_package.__name__}.{module}"
    known = len(cases_package._NodeTestCases)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        if name in sys.modules:  # another test imported it
            cases_package._existing_names.clear()
            importlib.reload(sys.modules[name])
        else:
            importlib.import_module(name)
    return cases_package._NodeTestCases[known:]


def reason_to_exclude(case: TestCase) -> str | None:
    nodes = case.model.graph.node
    if any(node.domain not in ("", "ai.onnx") for node in nodes):
        return "operators of other domains"
    missing = {node.op_type for node in nodes} - set(OPS)
    if missing:
        return "strings" if missing <= _STRINGS else ", ".join(sorted(missing))
    return next((reason for pattern, reason in EXCLUDED.items() if re.search(pattern, case.name)), None)


def check(case: TestCase, mode: str = "interpret") -> None:
    """Run a case.

    Args:
        case: whose inputs are tensors, where the mode is not "interpret".
        mode: that of the executor.

    Raises:
        AssertionError: an output differs from what is expected by more than the case allows.
    """
    torch.manual_seed(0)
    for inputs, expected in case.data_sets:
        with one_thread():
            outputs = run_model(case.model, inputs, mode)
        Runner.assert_similar_outputs([_array(x) for x in expected], outputs, case.rtol, case.atol)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch from sharing work that is too small to be shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_model(model: onnx.ModelProto, inputs: Sequence[Any], mode: str = "interpret") -> list[Any]:
    """Return a model's outputs as arrays (sequences as lists) for its inputs in their order.

    The model runs twice where the executor may record what it does: the second time runs the record.
    """
    m = ir.from_proto(model)
    for index, node in enumerate(m.graph.all_nodes()):
        node.name = node.name or f"{node.op_type}_{index}"
    module = GraphModule(m, mode=mode).eval()
    feeds = {value.name: _tensor(x) for value, x in zip(m.graph.inputs, inputs, strict=True)}
    with torch.no_grad():
        results = module(feeds)
        if mode != "interpret":
            results = module(feeds)
    return [_result(results[value.name]) for value in m.graph.outputs]


def _array(x: Any) -> Any:
    """Return an array; integers of less than 8 bits in 8, as the executor holds them."""
    if isinstance(x, list):
        return [_array(item) for item in x]
    array = onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x
    kind = getattr(array, "dtype", None)
    return array.astype(_AS_BYTES[kind.name]) if kind is not None and kind.name in _AS_BYTES else array


def _tensor(x: Any) -> Any:
    if isinstance(x, list):
        return [_tensor(item) for item in x]
    return None if x is None else from_numpy(np.asarray(_array(x)), "the input")


def _result(x: Any) -> Any:
    return [_result(item) for item in x] if isinstance(x, list) else to_numpy(x)
