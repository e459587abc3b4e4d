"""Dynamic INT8 of MatMul and Gemm: numbers against numpy, fusion in onnxruntime, and what is left alone.

Exact comparisons use 7-bit weights, whose sums no processor saturates.
"""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.errors import ModelError
from compressctl.model.load import load_model
from compressctl.model.save import serialize
from compressctl.model.verify import verify_graph
from compressctl.quantization.int8.dynamic import candidates, quantize
from compressctl.quantization.int8.matmul import saved_bytes
from compressctl.quantization.int8.weights import quantize_weight
from tests import graphs
from tests.quantization import reference
from tests.samples import SAMPLES

CHAIN = {"MatMulInteger", "Cast", "Mul", "Add"}  # what must have been fused


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


ARRAYS = {
    "w": normal(32, 48),
    "v": normal(48, 32, seed=1),
    "q": normal(32, 48, seed=2),
    "b": normal(48, seed=3),
    "row": normal(1, 48, seed=4),
    "column": normal(5, 1, seed=5),
    "full": normal(5, 48, seed=6),
    "scalar": np.float32(1.5),
}
X, Y = "float[n, 32] x", "float[n, 48] y"


def build(body: str, x: str = X, y: str = Y, **arrays: np.ndarray) -> ir.Model:
    return graphs.model(body, ARRAYS | arrays, x, y)


def quantize_all(model: ir.Model, **options: bool) -> list:
    notes = quantize(model, [node for node, reason in candidates(model) if reason is None], **options)
    verify_graph(model, where="test")
    return notes


def reals(weight: np.ndarray, channels: str = "columns") -> tuple[np.ndarray, np.ndarray]:
    return quantize_weight(weight, channels, reduced_range=True)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 4), max_size=3),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1e-6, 1.0, 1e6]),
    st.sampled_from([-8.0, -1.0, 0.0, 1.0, 8.0]),
    st.integers(0, 99),
)
def test_matmul_is_the_product_of_the_rounded_operands(batch, k, n, size, shift, seed):
    w, x = normal(k, n, seed=seed), (normal(*batch, k, seed=seed + 1) + np.float32(shift)) * np.float32(size)
    dims = ", ".join("abc"[: len(batch)])
    model = build(
        "y = MatMul(x, w)",
        f"float[{dims}, {k}] x".replace("[, ", "["),
        f"float[{dims}, {n}] y".replace("[, ", "["),
        w=w,
    )
    quantize(model, list(model.graph), reduced_range=True)
    verify_graph(model, where="test")
    expected = reference.product(x, *reals(w))
    tolerance = {"rtol": 1e-6, "atol": 1e-6 * np.abs(expected).max()}
    np.testing.assert_allclose(reference.run(model, {"x": x})[0], expected, **tolerance)
    np.testing.assert_allclose(reference.run(model, {"x": x}, optimize=True)[0], expected, **tolerance)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.25, -2.0), (1.0, 0.5), (3.0, 0.0)])
@pytest.mark.parametrize("c", ["", "b", "row", "column", "full", "scalar", "fed"])
@pytest.mark.parametrize("transposed", [False, True])
def test_gemm_keeps_alpha_beta_orientation_and_bias(alpha, beta, c, transposed):
    body = f"y = Gemm <alpha = {alpha}, beta = {beta}, transB = {int(transposed)}> (x, {'v' if transposed else 'w'}"
    model = build(body + (f", {c})" if c else ")"), "float[5, 32] x, float[48] fed", "float[5, 48] y")
    quantize(model, list(model.graph), reduced_range=True)
    verify_graph(model, where="test")
    values, scale = reals(ARRAYS["v"], "rows") if transposed else reals(ARRAYS["w"])
    feeds = {"x": normal(5, 32, seed=7), "fed": normal(48, seed=8)}
    bias = (ARRAYS | feeds)[c] if c else np.float32(0)
    product = reference.product(feeds["x"], values.T if transposed else values, scale)
    expected = np.float32(alpha) * product + np.float32(beta) * bias
    np.testing.assert_allclose(reference.run(model, feeds)[0], expected, rtol=1e-5, atol=1e-5)
    assert all(node.op_type not in ("Gemm", "Transpose") for node in model.graph)


@pytest.mark.parametrize(
    ("body", "x", "y"),
    [
        ("y = MatMul(x, w)", X, Y),
        ("y = MatMul(x, w)", "float[a, n, 32] x", "float[a, n, 48] y"),
        ("p = MatMul(x, w) y = Add(p, b)", X, Y),
        ("p = MatMul(x, w) y = Add(b, p)", "float[a, n, 32] x", "float[a, n, 48] y"),
        ("y = Gemm(x, w, b)", X, Y),
        ("y = Gemm <beta = 0.5, alpha = 2.0> (x, w, row)", X, Y),
        ("y = Gemm <transB = 1> (x, v, b)", X, Y),
    ],
)
def test_onnxruntime_fuses_the_whole_chain_into_one_operator(body, x, y, tmp_path):
    model = build(body, x, y)
    quantize_all(model)
    assert reference.executed(model, tmp_path) == {"DynamicQuantizeMatMul": 1}


def test_query_key_and_value_share_one_quantized_input(tmp_path):
    body = "p = MatMul(x, w) r = Add(p, b) s = MatMul(x, q) t = MatMul(x, u) z = Add(t, b) a = Add(r, s) y = Sub(a, z)"
    model = build(body, u=normal(32, 48, seed=9))
    quantize_all(model)
    assert sum(node.op_type == "DynamicQuantizeLinear" for node in model.graph) == 1
    fused = {"DynamicQuantizeLinear": 1, "MatMulIntegerToFloat": 3, "Add": 1, "Sub": 1}
    assert reference.executed(model, tmp_path) == fused


def test_gelu_and_layer_norm_still_fuse_around_the_products(tmp_path):
    body = """p = MatMul(x, w) h = Add(p, b) d = Div(h, root) e = Erf(d) f = Add(e, one) g = Mul(h, f) k = Mul(g, half)
              m = MatMul(k, v) n = Add(m, c) s = Add(n, x) y = LayerNormalization <axis = -1> (s, gamma, beta)"""
    constants = {"root": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)}
    norm = {"c": normal(32), "gamma": np.ones(32, np.float32), "beta": np.zeros(32, np.float32)}
    model = build(body, "float[4, 6, 32] x", "float[4, 6, 32] y", **constants, **norm)
    before, x = reference.run(model, {"x": normal(4, 6, 32)})[0], normal(4, 6, 32)
    quantize_all(model, reduced_range=reference.SATURATES)
    fused = reference.executed(model, tmp_path)
    assert fused["DynamicQuantizeMatMul"] == 2 and fused["SkipLayerNormalization"] == 1
    assert fused["Gelu"] + fused["BiasGelu"] == 1 and not set(fused) & (CHAIN | {"Erf", "Div"})
    error = reference.run(model, {"x": x}, optimize=True)[0] - before
    assert np.sqrt(np.mean(error**2)) < 0.02 * reference.STEP * np.sqrt(np.mean(before**2))


def test_a_weight_of_two_nodes_is_stored_once():
    model = build("a = MatMul(x, w) b2 = Relu(x) c = MatMul(b2, w) y = Add(a, c)")
    quantize_all(model, reduced_range=True)
    assert [v.name for v in model.graph.initializers.values()] == ["w_int8", "w_scale"]
    x = normal(5, 32)
    expected = reference.product(x, *reals(ARRAYS["w"])) + reference.product(np.maximum(x, 0), *reals(ARRAYS["w"]))
    np.testing.assert_allclose(reference.run(model, {"x": x})[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "head",
    [
        "u = Transpose <perm = [1, 0]> (t) y = MatMul(e, u)",
        "u = Transpose(t) y = Gemm(e, u)",
        "y = Gemm <transB = 1> (e, t)",
    ],
)
def test_a_head_tied_to_the_embedding_shares_its_integers(head, tmp_path):
    t, i = normal(40, 32), np.array([3, 39, 0, 3])
    model = build(f"e = Gather(t, i) {head}", "int64[n] i", "float[n, 40] y", t=t)
    assert [reason for _, reason in candidates(model)] == [None, None]
    assert all(note.kind == "done" for note in quantize_all(model, reduced_range=True))
    stored = [v for v in model.graph.initializers.values() if v.dtype == ir.DataType.INT8]
    assert len(stored) == 1 and all(v.name != "t" for v in model.graph.initializers.values())
    values, scale = reals(t, "rows")
    embedded = (values.astype(np.float32) * scale[:, np.newaxis])[i]
    expected = reference.product(embedded, values.T, scale)
    np.testing.assert_allclose(reference.run(model, {"i": i})[0], expected, rtol=1e-5, atol=1e-5)
    assert reference.executed(model, tmp_path) == {"Gather": 2, "Cast": 1, "Mul": 1, "DynamicQuantizeMatMul": 1}


def test_a_weight_that_stays_in_use_as_float_stays_and_is_named():
    model = build("p = MatMul(x, w) s = ReduceSum(w) y = Add(p, s)")
    notes = quantize_all(model)
    assert [(note.kind, note.node) for note in notes] == [("done", "MatMul_0"), ("warning", "w")]
    assert "ReduceSum_1" in notes[1].text and "w" in model.graph.initializers


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = MatMul(x, w)", None),
        ("r = Relu(w) y = MatMul(x, r)", "its weight is made by Relu as the model runs"),
        ("t = Transpose(x) y = MatMul(m, t)", "first operand"),
        ("y = MatMul(x, cube)", "3 axes"),
        ("y = MatMul(x, vector)", "1 axes"),
        ("y = Gemm <transA = 1> (x, w)", "transA"),
        ("y = Gemm <alpha = -1.0> (x, w)", "alpha is -1"),
        ("y = MatMul(x, tiny)", "bytes larger"),
        ("y = MatMul(x, none)", "empty"),
        ("d = DequantizeLinear(i8, scalar) y = MatMul(x, d)", "quantized already"),
        ('y = Einsum <equation = "ij,jk->ik"> (x, w)', "no INT8 kernel"),
        ("y = Conv(x, kernel)", "slower"),
        ("y, h = GRU <hidden_size = 2> (x, kernel, kernel)", "no INT8 kernel"),
        ("y = MatMulInteger(x, w)", "quantized already"),
    ],
)
def test_what_is_left_says_why(body, reason):
    extra = {"cube": normal(2, 32, 48), "vector": normal(32), "tiny": normal(2, 2), "none": normal(32, 0)}
    extra |= {"i8": np.ones((32, 48), np.int8), "kernel": normal(8, 4, 3), "m": normal(8, 32)}
    model = build(body, "float[a, b] x, float[32, 48] fed", "float y", **extra)
    found = candidates(model)
    assert len(found) == 1 and (found[0][1] is None) == (reason is None) and (reason or "") in (found[0][1] or "")


def test_float64_and_float16_weights_are_left():
    for dtype in ("double", "float16"):
        w = ARRAYS["w"].astype(dtype.replace("double", "float64"))
        ((_, reason),) = candidates(build("y = MatMul(x, w)", f"{dtype}[n, 32] x", f"{dtype}[n, 48] y", w=w))
        assert "only float32 has" in reason


def test_nodes_of_branches_are_quantized_where_they_are():
    body = """y = If (c) <then_branch = t () => (float[n, 48] a) { a = MatMul(x, w) },
                          else_branch = e () => (float[n, 48] d) { d = MatMul(x, q) }>"""
    model = build(body, f"{X}, bool c")
    found = candidates(model)
    assert [(node.op_type, reason) for node, reason in found] == [("MatMul", None)] * 2
    quantize(model, [node for node, _ in found], reduced_range=True)
    assert [node.op_type for node in model.graph] == ["If"]
    x = normal(3, 32)
    for branch, weight in ((True, "w"), (False, "q")):
        result = reference.run(model, {"x": x, "c": np.array(branch)})[0]
        expected = reference.product(x, *reals(ARRAYS[weight]))
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_a_weight_that_a_branch_uses_in_float_stays_for_it():
    body = """p = MatMul(x, w) z = If (c) <then_branch = t () => (float[n, 48] a) { [in_then] a = MatMul(x, w) },
              else_branch = e () => (float[n, 48] d) { [in_else] d = Identity(p) }> y = Add(p, z)"""
    model = build(body, f"{X}, bool c")
    notes = quantize(model, [model.graph[0]], reduced_range=True)
    assert [note.kind for note in notes] == ["done", "warning"] and "in_then" in notes[1].text
    x, product = normal(3, 32), reference.product(normal(3, 32), *reals(ARRAYS["w"]))
    for branch, expected in ((True, product + x @ ARRAYS["w"]), (False, 2 * product)):
        result = reference.run(model, {"x": x, "c": np.array(branch)})[0]
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_quantize_takes_any_subset_and_leaves_what_it_cannot():
    body = "p = MatMul(x, w) r = Relu(p) y = MatMul(r, v)"
    original = build(body, y="float[n, 32] y")
    clone = original.clone()
    notes = quantize(clone, [clone.graph[2], clone.graph[1]])
    assert [(note.kind, note.node) for note in notes] == [("skipped", "Relu_1"), ("done", "MatMul_2")]
    assert [node.op_type for node in original.graph] == ["MatMul", "Relu", "MatMul"]
    np.testing.assert_array_equal(original.graph.initializers["v"].const_value.numpy(), ARRAYS["v"])
    assert [node.op_type for node in clone.graph][:3] == ["MatMul", "Relu", "DynamicQuantizeLinear"]
    assert quantize(clone, []) == []


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = MatMul(x, m)", (32, 48)),
        ("y = Gemm(x, m, b)", (32, 48)),
        ("y = MatMul(x, m)", (32, 1)),
        ("y = MatMul(x, m)", (9, 11)),
    ],
)
def test_saved_bytes_is_what_the_file_loses(tmp_path, body, shape):
    model = build(body, f"float[n, {shape[0]}] x", f"float[n, {shape[1]}] y", m=normal(*shape))
    before, promised = len(serialize(model, tmp_path)), saved_bytes(model.graph[0])
    quantize(model, list(model.graph))
    assert abs(before - len(serialize(model, tmp_path)) - promised) <= 2


def test_nan_in_a_weight_is_refused_by_name():
    w = ARRAYS["w"].copy()
    w[3, 4] = np.nan
    model = build("y = MatMul(x, w)", w=w)
    with pytest.raises(ModelError, match="'w'"):
        quantize(model, list(model.graph))


@pytest.mark.parametrize(("sample", "products"), [("mlp", 2), ("transformer", 14), ("lstm", 2)])
def test_sample_models_keep_their_accuracy(sample, products, tmp_path):
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    model = load_model(SAMPLES / f"{sample}.onnx").model
    held_out = np.arange(len(digits.target)) % 5 == 0
    shape = [len(digits.target), *model.graph.inputs[0].shape[1:]]
    x, labels = (digits.data / 16).astype(np.float32).reshape(shape)[held_out], digits.target[held_out]
    before = reference.run(model, {"input": x}, optimize=True)[0]
    notes = quantize_all(model, reduced_range=reference.SATURATES)
    assert sum(note.kind == "done" for note in notes) == products
    after = reference.run(model, {"input": x}, optimize=True)[0]
    assert np.mean(before.argmax(1) == labels) - np.mean(after.argmax(1) == labels) <= 0.005
    assert np.sqrt(np.mean((after - before) ** 2)) < 0.03 * reference.STEP * np.sqrt(np.mean(before**2))
    executed = reference.executed(model, tmp_path)
    assert "MatMulInteger" not in executed and "LSTM" not in executed and "Gemm" not in executed
