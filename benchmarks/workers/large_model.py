"""Make a model of 2 GB; or load it, run passes on it, and save the result."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.model.load import load_model
from compressctl.model.save import save_model
from compressctl.model.verify import verify_graph
from compressctl.passes import PASSES
from compressctl.passes.base import Context

LAYERS, WIDTH, HIDDEN = 24, 4096, 5120


def make(path: Path) -> None:
    """Write `x` [rows, 4096] -> 24 MatMul of random weights, to 5120 and back, as external data -> `y`."""
    data = path.with_name(path.name + ".data")
    x = ir.Value(name="x", shape=ir.Shape(["rows", WIDTH]), type=ir.TensorType(ir.DataType.FLOAT))
    nodes, weights, value = [], [], x
    rng = np.random.default_rng(0)
    with data.open("wb") as file:
        for number in range(LAYERS):
            shape = (WIDTH, HIDDEN) if number % 2 == 0 else (HIDDEN, WIDTH)
            offset = file.tell()
            (rng.standard_normal(shape, np.float32) / np.float32(WIDTH**0.5)).tofile(file)
            length = file.tell() - offset
            kind = ir.DataType.FLOAT
            tensor = ir.ExternalTensor(
                data.name, offset, length, kind, shape=ir.Shape(shape), name=f"w{number}", base_dir=data.parent
            )
            weight = ir.Value(name=tensor.name, shape=tensor.shape, type=ir.TensorType(kind), const_value=tensor)
            weights.append(weight)
            nodes.append(ir.node("MatMul", [value, weight], name=f"layer{number}"))
            value = nodes[-1].outputs[0]
            value.name = "y" if number + 1 == LAYERS else f"y{number}"
    value.shape, value.type = ir.Shape(["rows", WIDTH]), ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], [value], nodes=nodes, initializers=weights, opset_imports={"": 17}, name="large")
    ir.save(ir.Model(graph, ir_version=8), path)


RUNS: dict[str, tuple[dict[str, Any], ...]] = {
    "copy": (),
    "int4": ({"type": "quantize_weights", "scheme": "int4"},),
    "cluster": ({"type": "cluster", "clusters": 16}, {"type": "store"}),
}


def compress(path: Path, output: Path, name: str) -> None:
    """Load the model, run passes, and save the result, as the pipeline does; nothing runs in onnxruntime."""
    model = load_model(path).model
    baseline = model.clone()
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        for options in RUNS[name]:
            config = next(config for config in PASSES if config.name() == options["type"])
            context = Context(baseline=baseline, workdir=Path(folder))
            model = config(**options).run(model.clone(), context).model
            verify_graph(model, where=options["type"])
        save_model(model, output, overwrite=True)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        compress(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[1])
