"""Small models from ONNX text and arrays, and onnxruntime as the reference that runs them."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import numpy_helper

from compressctl.model.save import serialize

ort.set_default_logger_severity(4)


def parse(text: str, **arrays: np.ndarray) -> onnx.ModelProto:
    """Parse a model, of opset 17 where it does not say; the arrays, which it uses by name, become initializers."""
    header = "" if text.lstrip().startswith("<") else '<ir_version: 8, opset_import: ["" : 17]>'
    proto = onnx.parser.parse_model(header + text)
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items())
    return proto


def parsed(text: str, **arrays: np.ndarray) -> ir.Model:
    """Do as `parse` does, in memory."""
    return ir.from_proto(parse(text, **arrays))


def proto(body: str, arrays: Mapping[str, np.ndarray], x: str, y: str, opset: int = 17) -> onnx.ModelProto:
    """Return the graph `body` from inputs `x` to outputs `y`; the arrays it names become initializers."""
    used = {name: array for name, array in arrays.items() if re.search(rf"\b{name}\b", body)}
    return parse(f'<ir_version: 8, opset_import: ["" : {opset}]> g ({x}) => ({y}) {{ {body} }}', **used)


def model(body: str, arrays: Mapping[str, np.ndarray], x: str, y: str, opset: int = 17) -> ir.Model:
    """Do as `proto` does, in memory, with shapes, and a name for each node."""
    m = ir.from_proto(onnx.shape_inference.infer_shapes(proto(body, arrays, x, y, opset)))
    for index, node in enumerate(m.graph):
        node.name = node.name or f"{node.op_type}_{index}"
    return m


def save(path: Path, body: str, arrays: Mapping[str, np.ndarray], x: str, y: str, opset: int = 17) -> Path:
    """Write what `proto` returns."""
    onnx.save(proto(body, arrays, x, y, opset), path)
    return path


def chain(layers: int, width: int) -> ir.Model:
    """Return x [n, width] -> MatMul, so many times -> y; the nodes are called layer0, layer1, …"""
    random, names = Random(0), ["x", *(f"h{i}" for i in range(layers - 1)), "y"]
    body = " ".join(f"[layer{i}] {names[i + 1]} = MatMul({names[i]}, w{i})" for i in range(layers))
    weights = {f"w{i}": random(width, width) / np.float32(width**0.5) for i in range(layers)}
    return model(body, weights, f"float[n, {width}] x", f"float[n, {width}] y")


def cnn(arrays: Mapping[str, np.ndarray]) -> ir.Model:
    """Return a convolution of 3 channels, one in two groups of 4, and a MatMul of 8; the arrays are their weights."""
    body = """c1 = Conv<pads = [1, 1, 1, 1]>(x, w1, b1) r1 = Relu(c1) c2 = Conv<group = 2>(r1, w2, b2)
        r2 = Relu(c2) p = GlobalAveragePool(r2) f = Flatten(p) y = MatMul(f, w3)"""
    return model(body, arrays, "float[N, 3, 7, 7] x", f"float[N, {arrays['w3'].shape[1]}] y")


class Random:
    """Draws of float32 from a normal distribution, one after the other: `random(4, 6)` is a matrix."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)


def run(m: ir.Model | onnx.ModelProto | bytes | Path, feeds: Mapping[str, np.ndarray], *names: str) -> list[np.ndarray]:
    """Run a model in onnxruntime as it is written, in one thread; return these outputs, or all."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1  # each thread would quantize its part of a batch with scales of its own
    content = serialize(m, Path()) if isinstance(m, ir.Model) else m
    content = content.SerializeToString() if isinstance(content, onnx.ModelProto) else content
    return list(ort.InferenceSession(content, options, ["CPUExecutionProvider"]).run(list(names) or None, dict(feeds)))


def weights(m: ir.Model) -> dict[str, np.ndarray]:
    """Return copies of the constants of a model."""
    return {name: value.const_value.numpy().copy() for name, value in m.graph.initializers.items()}


def operators(m: ir.Model | onnx.ModelProto | Path) -> list[str]:
    """Return the operators of a graph in their order."""
    found = onnx.load(m, load_external_data=False) if isinstance(m, Path) else m
    return [node.op_type for node in (found.graph if isinstance(found, ir.Model) else found.graph.node)]
