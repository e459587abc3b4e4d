"""Weights that stay packed as the model runs: com.microsoft.MatMulNBits, which pays where few rows are multiplied.

At 1 to 8 rows a product waits for its weights to come from memory, and these are a quarter or an eighth. With accuracy
level 4 it is computed on integers: blocks of the activation are rounded to 8 bits at run time. Source: onnxruntime's
contrib operator reference.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import bias_of, ensure_opset, initializer, replace_node
from compressctl.model.ops import PRODUCTS
from compressctl.model.tensor_file import TensorFiles
from compressctl.numerics.packing import pack
from compressctl.quantization.weights.rounding import Rounded
from compressctl.quantization.weights.targets import Target

DOMAIN = "com.microsoft"
MOST_ROWS = 8
_BLOCKS = (16, 32, 64, 128, 256)
_INTEGERS = 4  # accuracy level: others are 10 to 17 times slower at some widths


def obstacle(target: Target, size: int) -> str | None:
    """Return why the layers of `target` cannot compute on packed weights in blocks of `size`, or None."""
    if not target.layers or len(target.layers) < len(target.nodes):
        return "it is no product of matrices alone"
    for layer in target.layers:
        attributes = layer.node.attributes
        plain = not attributes.get_int("transA", 0) and attributes.get_float("alpha", 1.0) == 1
        plain = plain and attributes.get_float("beta", 1.0) == 1 and layer.weight_index == 1
        if layer.node.op_type not in PRODUCTS or not plain:
            return f"it is a {layer.node.op_type} of another form"
    if target.tensor.dtype != ir.DataType.FLOAT:
        return f"its weight is {target.tensor.dtype.name.lower()}"
    return None if size in _BLOCKS else f"its blocks are of {size}"


def store_blocks(model: ir.Model, target: Target, rounded: Rounded, files: TensorFiles) -> None:
    """Let the layers of `target`, which have no `obstacle`, multiply by packed weights of 4 or 8 bits.

    Args:
        model: edited.
        target: its float constant goes.
        rounded: 16 levels without offsets, -8 to 7, or 256, -128 to 127.
        files: keeps the packed weights.
    """
    graph, layer, size = model.graph, target.layers[0], rounded.size
    _, outputs, inputs = layer.shape
    blocks = inputs // size
    codes, scale = rounded.codes.reshape(-1, size), rounded.levels.scale.astype(np.float32)
    if layer.inputs_first:  # rows are [blocks, outputs], the operator wants [outputs, blocks]
        codes = codes.reshape(blocks, outputs, size).swapaxes(0, 1).reshape(-1, size)
        scale = scale.reshape(blocks, outputs).T
    count = rounded.levels.count
    bits = count.bit_length() - 1
    (packed,) = pack(codes, count)
    name = target.value.name or ""
    weight = initializer(graph, f"{name}_packed", packed.reshape(outputs, blocks, size * bits // 8))
    files.keep(weight)
    scales = initializer(graph, f"{name}_scale", scale.reshape(-1))
    for one in target.layers:
        bias = bias_of(one.node)
        sizes = {"K": inputs, "N": outputs, "bits": bits, "block_size": size, "accuracy_level": _INTEGERS}
        product = ir.node("MatMulNBits", [one.input, weight, scales], sizes, domain=DOMAIN, name=one.name)
        added = [ir.node("Add", [product.outputs[0], bias], name=f"{one.name}_bias")] if bias is not None else []
        one.node.name = None
        replace_node(graph, one.node, [product, *added])
    ensure_opset(model, DOMAIN, 1)
    del graph.initializers[name]
