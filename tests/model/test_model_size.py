from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from compressctl.model.load import load_model
from compressctl.model.save import save_model
from compressctl.model.shapes import infer_shapes
from compressctl.model.size import count, file_bytes
from tests.graphs import parsed
from tests.model.texts import BRANCHES, CNN, answer, cnn_weights

HEAD = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'

# With ones everywhere and no padding, each product adds 1 to the sum of the outputs, so onnxruntime counts for us.
PRODUCTS = {
    "conv": ("float[2, 6, 9, 8] x", "float y", "y = Conv <group = 2, strides = [2, 1]> (x, w)", (4, 3, 3, 2)),
    "conv_1d": ("float[3, 4, 10] x", "float y", "y = Conv <dilations = [2]> (x, w)", (5, 4, 3)),
    "depthwise": ("float[1, 6, 8, 8] x", "float y", "y = Conv <group = 6> (x, w)", (6, 1, 3, 3)),
    "transposed": (
        "float[2, 6, 4, 4] x",
        "float y",
        "y = ConvTranspose <group = 2, strides = [2, 2]> (x, w)",
        (6, 2, 3, 3),
    ),
    "matmul": ("float[2, 5, 7] x", "float y", "y = MatMul (x, w)", (7, 3)),
    "matmul_batched": ("float[2, 1, 5, 7] x", "float y", "y = MatMul (x, w)", (4, 7, 3)),
    "matmul_vector": ("float[5, 7] x", "float y", "y = MatMul (x, w)", (7,)),
    "vector_matmul": ("float[7] x", "float y", "y = MatMul (x, w)", (2, 7, 3)),
    "gemm": ("float[5, 7] x", "float y", "y = Gemm (x, w)", (7, 3)),
    "gemm_transposed": ("float[7, 5] x", "float y", "y = Gemm <transA = 1, transB = 1> (x, w)", (3, 7)),
    "fused": ("float[2, 7, 5] x", "float[2, 5, 3] y", "y = com.microsoft.FusedMatMul <transA = 1> (x, w)", (7, 3)),
    "einsum": ("float[2, 3, 4] x", "float y", 'y = Einsum <equation = "bij, jk -> bik"> (x, w)', (4, 6)),
    "conv_integer": ("uint8[2, 6, 9, 8] x", "int32 y", "y = ConvInteger (x, w)", (4, 6, 3, 2)),
    "matmul_integer": ("uint8[2, 5, 7] x", "int32 y", "y = MatMulInteger (x, w)", (7, 3)),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_macs_are_the_products_that_onnxruntime_sums(case: str) -> None:
    given, result, body, shape = PRODUCTS[case]
    dtype = np.dtype(np.float32 if given.startswith("float") else np.uint8)
    model = parsed(f"{HEAD} m ({given}) => ({result}) {{ [work] {body} }}", w=np.ones(shape, dtype))
    if "[" not in result:
        model.graph.outputs[0].shape = None
    x = np.ones(model.graph.inputs[0].shape.numpy(), dtype)
    size = count(model)
    assert size.macs == int(answer(model, x=x)[0].sum())
    assert size.parameters == np.prod(shape)
    assert not size.uncounted


def test_macs_of_quantized_convolutions_and_products() -> None:
    one, zero = np.float32(1), np.uint8(0)
    text = f"""{HEAD} m (uint8[1, 2, 4, 4] x) => (uint8[1, 3, 3, 3] y, uint8[1, 2, 4, 5] z) {{
        [conv] y = QLinearConv (x, one, zero, w, one, zero, one, zero)
        [matmul] z = QLinearMatMul (x, one, zero, v, one, zero, one, zero)
    }}"""
    weights: dict[str, Any] = {"w": np.ones((3, 2, 2, 2), np.uint8), "v": np.ones((4, 5), np.uint8)}
    model = parsed(text, one=one, zero=zero, **weights)
    y, z = answer(model, x=np.ones((1, 2, 4, 4), np.uint8))
    rows = {row.node: row for row in count(model).by_layer}
    assert (rows["conv"].macs, rows["conv"].parameters) == (int(y.sum()), 24)
    assert (rows["matmul"].macs, rows["matmul"].parameters) == (int(z.sum()), 20)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_macs_of_recurrent_layers(op: str, gates: int) -> None:
    """One step of one direction is gates * hidden * (input + hidden) products (ONNX operator specification)."""
    steps, batch, size, hidden = 7, 3, 5, 4
    text = f"""{HEAD} m (float[{steps}, {batch}, {size}] x) => (float[{steps}, 2, {batch}, {hidden}] y) {{
        y = {op} <hidden_size = {hidden}, direction = "bidirectional"> (x, w, r, b)
    }}"""
    rows = gates * hidden
    weights = {"w": (2, rows, size), "r": (2, rows, hidden), "b": (2, 2 * rows)}
    model = parsed(text, **{name: np.ones(shape, np.float32) for name, shape in weights.items()})
    assert count(model).macs == 2 * steps * batch * rows * (size + hidden)
    assert count(model).parameters == 2 * rows * (size + hidden + 2)


@pytest.mark.parametrize(("name", "macs"), [("light_resnet50", 4.089e9), ("light_vgg19", 19.632e9)])
def test_macs_of_known_networks(name: str, macs: float) -> None:
    """4.09 and 19.63 G multiply-adds at 224 x 224, as torchvision's model tables give them."""
    path = Path(onnx.__file__).parent / "backend/test/data/light" / f"{name}.onnx"
    if not path.exists():
        pytest.skip("this build of onnx comes without its test models")
    assert count(load_model(path).model).macs == pytest.approx(macs, rel=2e-4)


def test_dynamic_dimensions_are_one_unless_given() -> None:
    text = f"""{HEAD} m (float[batch, seq, ?, 4] x) => (float[batch, seq, ?, 6] y) {{ y = MatMul (x, w) }}"""
    model = parsed(text, w=np.ones((4, 6), np.float32))
    alone, given = count(model), count(model, {"seq": 10, "x[2]": 3})
    assert (alone.macs, given.macs) == (24, 24 * 10 * 3)
    assert alone.dims == (("batch", 1), ("seq", 1), ("x[2]", 1))
    assert given.dims == (("batch", 1), ("seq", 10), ("x[2]", 3))
    assert given.by_layer[0].shape == ("batch", "seq", None, 6)


def test_shapes_that_depend_on_shape_arithmetic_are_followed() -> None:
    text = f"""{HEAD} m (float[batch, 6, 4] x) => (float[batch, n, 5] y) {{
        shape = Shape (x)
        zero = Constant <value = int64 {{0}}> ()
        two = Constant <value = int64[1] {{2}}> ()
        rest = Constant <value = int64[1] {{-1}}> ()
        first = Gather (shape, zero)
        axes = Constant <value = int64[1] {{0}}> ()
        batch = Unsqueeze (first, axes)
        target = Concat <axis = 0> (batch, rest, two)
        halves = Reshape (x, target)
        [work] y = MatMul (halves, w)
    }}"""
    model = parsed(text, w=np.ones((2, 5), np.float32))
    size = count(model, {"batch": 3})
    assert size.macs == int(answer(model, x=np.ones((3, 6, 4), np.float32))[0].sum())
    assert not size.uncounted


def test_work_in_bodies_is_said_to_be_uncounted() -> None:
    assert count(parsed(BRANCHES)).uncounted == ()
    inner = BRANCHES.replace(
        "[add] t = Add (h, k)", "w = Constant <value = float[1, 4] {1, 2, 3, 4}> () g = MatMul (k, h) t = Add (g, w)"
    )
    size = count(parsed(inner))
    assert size.uncounted == ("choice",)
    assert {row.node: row.parameters for row in size.by_layer} == {"outer": 0, "spare": 0, "choice": 4}


def test_rows_add_up() -> None:
    weights = cnn_weights()
    weights["kernel"][0] = 0
    model = parsed(CNN, **weights)
    infer_shapes(model)
    size = count(model)
    rows = {row.node: row for row in size.by_layer}
    assert list(rows) == ["conv", "relu", "pool", "flat", "fc"]
    assert (rows["conv"].op, rows["conv"].shape) == ("Conv", ("batch", 16, 4, 4))
    assert (rows["conv"].parameters, rows["conv"].nonzeros, rows["conv"].bytes) == (448, 448 - 27, 1792)
    assert (rows["fc"].parameters, rows["fc"].bytes) == (85, 340)
    assert (size.parameters, size.nonzeros) == (533, 506)
    assert size.macs == 16 * 4 * 4 * 27 + 5 * 16


def test_shared_weights_count_once_and_unused_ones_count() -> None:
    text = f"{HEAD} m (float[2, 2] x) => (float[2, 2] y) {{ a = MatMul (x, w) y = MatMul (a, w) }}"
    model = parsed(text, w=np.ones((2, 2), np.float32), unused=np.ones(3, np.float32))
    size = count(model)
    assert [row.parameters for row in size.by_layer] == [4, 0]
    assert size.parameters == 7
    assert size.macs == 16


def test_scalars_shapes_and_indices_are_no_parameters() -> None:
    text = f"""{HEAD} m (float[4] x) => (float[2, 2] y) {{
        half = Constant <value_float = 0.5> ()
        h = Mul (x, half)
        i = Gather (h, order)
        y = Reshape (i, shape)
    }}"""
    size = count(parsed(text, order=np.arange(4), shape=np.array([2, 2])))
    assert size.parameters == 0
    assert sum(row.bytes for row in size.by_layer) == 48


def qdq(weight: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], axis: int, **blocks: int) -> ir.Model:
    block = f", block_size = {blocks['block_size']}" if blocks else ""
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    m (float[1, {weight.shape[0]}] x) => (float[1, {weight.shape[1]}] y) {{
        [dq] f = DequantizeLinear <axis = {axis}{block}> (w, scale, zero)
        [matmul] y = MatMul (x, f)
    }}"""
    return parsed(text, w=weight, scale=scale, zero=zero)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", ["tensor", "channel", "block"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint4"])
def test_nonzeros_of_quantized_weights_are_those_of_what_they_stand_for(dtype: str, kind: str, axis: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 4, (6, 4)).astype(getattr(ml_dtypes, dtype, dtype))
    shape = {"tensor": (), "channel": weight.shape[axis], "block": (3, 4) if axis == 0 else (6, 2)}[kind]
    zero = rng.integers(0, 4, shape).astype(weight.dtype)
    model = qdq(weight, np.ones(shape, np.float32), zero, axis, **({"block_size": 2} if kind == "block" else {}))
    dequantized = answer(_with_output(model, "f"), x=np.ones((1, 6), np.float32))[1]
    row = {row.node: row for row in count(model).by_layer}["matmul"]
    assert row.nonzeros == np.count_nonzero(dequantized)
    assert (row.parameters, row.macs) == (24, 24)


def _with_output(model: ir.Model, name: str) -> ir.Model:
    copy = model.clone()
    value = ir.convenience.create_value_mapping(copy.graph)[name]
    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([None, None])
    copy.graph.outputs.append(value)
    return copy


def test_biases_of_quantized_layers_count() -> None:
    text = f"""{HEAD} m (float[1, 3] x) => (float[1, 2] y) {{
        [dw] w = DequantizeLinear (wq, one)
        [db] b = DequantizeLinear (bq, one)
        [fc] y = Gemm (x, w, b)
    }}"""
    size = count(parsed(text, wq=np.ones((3, 2), np.int8), bq=np.ones(2, np.int32), one=np.float32(1)))
    assert size.parameters == 8
    assert {row.node: row.parameters for row in size.by_layer} == {"dw": 0, "db": 0, "fc": 8}


def test_packed_weights_count_unpacked() -> None:
    text = f"""{HEAD} m (float[3, 64] x) => (float[3, 10] y) {{
        y = com.microsoft.MatMulNBits <K = 64, N = 10, bits = 4, block_size = 32> (x, w, scale)
    }}"""
    model = parsed(text, w=np.zeros((10, 2, 16), np.uint8), scale=np.ones(20, np.float32))
    assert (count(model).parameters, count(model).macs) == (640, 3 * 640)


def test_file_bytes_include_external_data(tmp_path: Path) -> None:
    model = parsed(CNN, **cnn_weights())
    files = save_model(model, tmp_path / "m.onnx", overwrite=False, embed_limit=100)
    assert len(files) == 2
    assert file_bytes(files[0]) == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert count(load_model(files[0]).model).nonzeros == count(model).nonzeros
