"""Make an MLP: python -m benchmarks.workers.mlp FILE WIDTH embedded|external."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from benchmarks.large import LAYERS


def make(path: Path, width: int, kind: str) -> None:
    """Write `x` [rows, width] -> 8 MatMul of random weights with Relu between them -> `y`."""
    rng, nodes, weights, value = np.random.default_rng(0), [], [], "x"
    data = path.with_name(f"{path.name}.data")
    with data.open("wb") as file:
        for number in range(LAYERS):
            array = rng.standard_normal((width, width), np.float32) / np.float32((width / 2) ** 0.5)
            tensor = TensorProto(name=f"w{number}", data_type=TensorProto.FLOAT, dims=array.shape)
            if kind == "external":
                tensor.data_location = TensorProto.EXTERNAL
                for key, entry in {"location": data.name, "offset": file.tell(), "length": array.nbytes}.items():
                    tensor.external_data.add(key=key, value=str(entry))
                array.tofile(file)
            else:
                tensor.raw_data = array.tobytes()
            weights.append(tensor)
            last = number + 1 == LAYERS
            nodes.append(helper.make_node("MatMul", [value, tensor.name], ["y" if last else f"h{number}"]))
            if not last:
                nodes.append(helper.make_node("Relu", [f"h{number}"], [f"r{number}"]))
            value = f"r{number}"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width]) for name in "xy")
    graph = helper.make_graph(nodes, "mlp", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    if kind == "embedded":
        data.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
