"""What the dynamic INT8 operators compute, in numpy, from their specifications."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from compressctl.measure.machine import int8_target
from compressctl.measure.session import Session

SATURATES = int8_target() == "avx2"  # this processor's integer kernels do, on weights of 8 bits: they get 7
STEP = 2 if SATURATES else 1  # by which errors are larger then


def quantize(x: np.ndarray) -> tuple[np.ndarray, np.float32, np.uint8]:
    """DynamicQuantizeLinear: (integers, scale, zero point)."""
    low, high = np.minimum(x.min(), np.float32(0)), np.maximum(x.max(), np.float32(0))
    scale = (high - low) / np.float32(255) if high > low else np.float32(1)
    zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
    return np.clip(np.rint(x / scale) + np.float32(zero), 0, 255).astype(np.uint8), np.float32(scale), zero


def product(x: np.ndarray, weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul, for int8 `weight` [K, N] and `scale` [N]."""
    integers, x_scale, zero = quantize(x)
    sums = (integers.astype(np.int64) - np.int64(zero)) @ weight.astype(np.int64)
    return sums.astype(np.float32) * (x_scale * scale)


def weight_integers(model: ir.Model) -> dict[str, np.ndarray]:
    """The int8 weights of a statically quantized model by name, unpacked by ONNX's reference implementation."""
    proto = ir.to_proto(model)
    names = {node.input[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    plain = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    packed = sorted(name for name in names - plain.keys() if name.endswith("_int8"))
    found = {name: plain[name] for name in sorted(names & plain.keys()) if name.endswith("_int8")}
    if packed:
        part = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(proto)).extract_model([], packed)
        found |= zip(packed, ReferenceEvaluator(part).run(None, {}), strict=True)
    return found


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "HardSigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
}


def lstm(
    x: np.ndarray,
    w: tuple[np.ndarray, np.ndarray],
    r: tuple[np.ndarray, np.ndarray],
    *,
    bias: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
    h0: np.ndarray | None = None,
    c0: np.ndarray | None = None,
    peepholes: np.ndarray | None = None,
    activations: Sequence[str] = ("Sigmoid", "Tanh", "Tanh"),
    clip: float = np.inf,
    input_forget: bool = False,
    reverse: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One direction of an LSTM over x [steps, batch, inputs]; w and r are (int8 [inputs or units, 4*units], scales)."""
    (steps, batch, _), units = x.shape, r[0].shape[0]
    lengths = np.full(batch, steps) if lengths is None else lengths
    f, g, h_activation = (ACTIVATIONS[name] for name in activations)
    b = np.zeros(8 * units) if bias is None else bias
    p_i, p_o, p_f = np.zeros((3, units)) if peepholes is None else peepholes.reshape(3, units)
    h = np.zeros((batch, units), np.float32) if h0 is None else h0
    c = np.zeros((batch, units), np.float32) if c0 is None else c0
    last_h, last_c = h, c
    from_x = product(x.reshape(steps * batch, -1), *w).reshape(steps, batch, -1) + b[: 4 * units] + b[4 * units :]
    y = np.zeros((steps, batch, units), np.float32)
    for step in range(steps):
        # A reversed row starts at its own last step.
        at = np.where(lengths > step, lengths - 1 - step, step) if reverse else np.full(batch, step)
        gates = from_x[at, np.arange(batch)] + product(h, *r)
        i, o, forget, cell = np.split(gates, 4, axis=1)
        i = f(np.clip(i + p_i * c, -clip, clip))
        forget = 1 - i if input_forget else f(np.clip(forget + p_f * c, -clip, clip))
        c = (forget * c + i * g(np.clip(cell, -clip, clip))).astype(np.float32)
        h = (f(np.clip(o + p_o * c, -clip, clip)) * h_activation(c)).astype(np.float32)
        alive = (step < lengths)[:, np.newaxis]
        h = np.where(alive, h, 0)
        last_h, last_c = np.where(alive, h, last_h), np.where(alive, c, last_c)
        y[at, np.arange(batch)] = h
    return y, last_h, last_c


def run(model: ir.Model, feeds: Mapping[str, np.ndarray], *, optimize: bool = False) -> list[np.ndarray]:
    """The model's outputs in onnxruntime, as the graph is written unless `optimize`."""
    return list(Session(model, threads=1, optimize=optimize).run(feeds).values())


def executed(model: ir.Model, folder: Path) -> Counter[str]:
    """Operator types of the graph that onnxruntime really runs."""
    path = folder / "optimized.onnx"
    Session(model, threads=1, optimized_path=path)
    return Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
