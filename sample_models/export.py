"""Write trained models as ONNX and TorchScript files that say nothing about the machine they were made on."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn


def save_onnx(model: nn.Module, example: Tensor, path: Path, output: str = "logits") -> None:
    """Export `model` with input `input` and one output, a dynamic batch, opset 17 and BatchNorm kept as nodes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The TorchScript-based exporter writes node names with module paths, and one node for an LSTM.
        torch.onnx.export(
            model,
            (example,),
            buffer,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # else it folds BatchNorm into the convolutions
            opset_version=17,
            input_names=["input"],
            output_names=[output],
            dynamic_axes={"input": {0: "batch"}, output: {0: "batch"}},
        )
    proto = onnx.load_model_from_string(buffer.getvalue())
    untie_weights(proto.graph)
    name_weights(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def untie_weights(graph: onnx.GraphProto) -> None:
    """Give every parameter its own initializer again: the exporter merges equal ones through Identity nodes."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Identity" and node.input[0] in weights]:
        graph.initializer.add().CopyFrom(weights[node.input[0]])
        graph.initializer[-1].name = node.output[0]
        graph.node.remove(node)


def name_weights(graph: onnx.GraphProto) -> None:
    """Name the weights that the exporter transposed or reordered (`onnx::MatMul_7`) after their node and its schema."""
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name.startswith("onnx::")}
    for node in graph.node:
        scope = node.name.strip("/").rpartition("/")[0].replace("/", ".")
        for index, name in enumerate(node.input):
            if name in weights:
                parameter = onnx.defs.get_schema(node.op_type).inputs[index].name
                weights[name].name = node.input[index] = f"{scope}.{parameter}"


def save_torchscript(module: torch.jit.ScriptModule, path: Path) -> None:
    """Save `module` without its debug records, which hold absolute paths of source files."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as saved, zipfile.ZipFile(path, "w") as stripped:
        for name in saved.namelist():
            if not name.endswith(".debug_pkl"):
                stripped.writestr(zipfile.ZipInfo(name), saved.read(name))
