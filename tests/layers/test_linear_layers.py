"""What counts as a linear layer, and its matrix against onnxruntime's outputs."""

import numpy as np
import pytest

from compressctl.layers.linear import linear_layers, other_layers
from compressctl.layers.rows import input_rows
from compressctl.measure.session import Session
from tests import graphs

RNG = np.random.default_rng(3)


def weights(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


# body, shape of the weight w, shape of the input x, how [groups, rows, outputs] lies in the output
LAYERS = {
    "matmul": ("y = MatMul(x, w)", (5, 7), (2, 3, 5), lambda y: y.reshape(1, -1, 7)),
    "matmul of a vector": ("y = MatMul(x, w)", (5, 7), (5,), lambda y: y.reshape(1, 1, 7)),
    "matmul, constant first": ("y = MatMul(w, x)", (7, 5), (2, 5, 3), lambda y: y.swapaxes(1, 2).reshape(1, -1, 7)),
    "gemm": ("y = Gemm(x, w)", (5, 7), (3, 5), lambda y: y[None]),
    "gemm, transposed": ("y = Gemm<transA = 1, transB = 1>(x, w)", (7, 5), (5, 3), lambda y: y[None]),
    "conv": (
        "y = Conv<pads = [1, 0, 2, 1], strides = [2, 1], dilations = [1, 2]>(x, w)",
        (4, 3, 3, 2),
        (2, 3, 7, 6),
        lambda y: np.moveaxis(y, 1, -1).reshape(1, -1, 4),
    ),
    "grouped conv": (
        'y = Conv<group = 2, auto_pad = "SAME_LOWER", strides = [2, 2]>(x, w)',
        (6, 2, 3, 3),
        (2, 4, 6, 5),
        lambda y: np.moveaxis(y.reshape(2, 2, 3, -1), (1, 3), (0, 2)).reshape(2, -1, 3),
    ),
    "transposed conv": (
        "y = ConvTranspose<strides = [3]>(x, w)",  # windows do not overlap
        (4, 2, 3),
        (2, 4, 5),
        lambda y: y.reshape(2, 2, 5, 3).transpose(0, 2, 1, 3).reshape(1, -1, 6),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_rows_times_matrix_are_the_outputs(name):
    body, weight, shape, arrange = LAYERS[name]
    text = ", ".join(map(str, shape))
    model = graphs.model(body, weights(w=weight), f"float[{text}] x", "float y")
    model.graph.outputs[0].shape = None
    (layer,) = linear_layers(model.graph)
    x = RNG.standard_normal(shape).astype(np.float32)
    (y,) = Session(model, optimize=False).run({"x": x}).values()
    rows = input_rows(layer, x)
    computed = rows.take(np.arange(len(rows))) @ layer.matrix().swapaxes(1, 2)
    np.testing.assert_allclose(computed, arrange(y), rtol=1e-5, atol=1e-5)
    assert layer.matrix().shape == layer.shape


@pytest.mark.parametrize("name", LAYERS)
def test_restore_undoes_matrix(name):
    body, weight, shape, _ = LAYERS[name]
    arrays = {"w": weights(w=weight)["w"].astype(np.float16)}
    model = graphs.model(body, arrays, f"float16[{', '.join(map(str, shape))}] x", "float16 y")
    (layer,) = linear_layers(model.graph)
    restored = layer.restore(layer.matrix())
    assert restored.dtype == np.float16
    np.testing.assert_array_equal(restored, arrays["w"])


def test_a_mask_lies_like_the_weight():
    model = graphs.model("y = MatMul(x, w)", weights(w=(5, 7)), "float[2, 5] x", "float[2, 7] y")
    (layer,) = linear_layers(model.graph)
    mask = RNG.integers(0, 2, (5, 7)).astype(bool)
    np.testing.assert_array_equal(layer.matrix(mask)[0], mask.T)


def test_a_shared_weight_appears_once_a_node():
    model = graphs.model("a = MatMul(x, w) y = MatMul(a, w)", weights(w=(5, 5)), "float[2, 5] x", "float[2, 5] y")
    first, second = linear_layers(model.graph)
    assert first.weight is second.weight
    assert (first.name, second.name) == ("MatMul_0", "MatMul_1")
    assert (first.input.name, second.input.name) == ("x", "a")


@pytest.mark.parametrize(
    ("body", "arrays", "reason"),
    [
        ("t = Transpose(w) y = MatMul(x, t)", weights(w=(7, 5)), "its weight is made by Transpose as the model runs"),
        (
            "w = ConstantOfShape<value = float[1] {0.5}>(s) y = MatMul(x, w)",
            {"s": np.array([5, 7])},
            "its weight is made by ConstantOfShape as the model runs",
        ),
        (
            "c = Cast<to = 1>(w) t = Transpose(c) y = MatMul(x, t)",
            {"w": np.ones((7, 5), np.float16)},
            "its weight is stored packed, which `compressctl store --format dense` undoes",
        ),
        ("y = MatMul(x, w)", weights(w=(2, 5, 7)), "its constant of shape 2x5x7 is no matrix of floats"),
        ("y = Gemm(w, x)", weights(w=(7, 2)), "its constant is the first operand"),
        (
            "d = DequantizeLinear(q, s, z) y = MatMul(x, d)",
            {"q": np.ones((5, 7), np.int8), "s": np.float32(1), "z": np.int8(0)},
            "its weight is quantized already",
        ),
    ],
)
def test_why_a_node_is_none(body, arrays, reason):
    model = graphs.model(body, arrays, "float[2, 5] x", "float y")
    assert linear_layers(model.graph) == ()
    ((node, said),) = other_layers(model.graph)
    assert said == reason
    assert node.op_type in ("MatMul", "Gemm")


def test_products_of_activations_and_constants_are_passed_over():
    body = "a = MatMul(x, x) b = Softmax(a) c = MatMul(b, x) d = MatMul(w, v) y = Add(c, d)"
    model = graphs.model(body, weights(w=(5, 5), v=(5, 5)), "float[5, 5] x", "float[5, 5] y")
    assert linear_layers(model.graph) == ()
    assert not list(other_layers(model.graph))


def test_a_weight_that_can_be_fed_is_none():
    model = graphs.model("y = MatMul(x, w)", weights(w=(5, 7)), "float[2, 5] x, float[5, 7] w", "float[2, 7] y")
    assert linear_layers(model.graph) == ()


def test_recurrent_layers_are_named():
    lstm = "h, hn, cn = LSTM<hidden_size = 2>(x, w, r) y = Identity(h)"
    model = graphs.model(lstm, weights(w=(1, 8, 3), r=(1, 8, 2)), "float[4, 1, 3] x", "float y")
    assert [reason for _, reason in other_layers(model.graph)] == ["it is recurrent"]
