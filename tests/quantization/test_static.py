"""Emitted Q/DQ graphs against numpy, and the kernels onnxruntime forms of them."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.measure.profile import executed_ops
from compressctl.measure.session import Session
from compressctl.model.graph import constant, remove_dead
from compressctl.model.save import save_model
from compressctl.model.verify import verify_graph
from compressctl.numerics.bias import bias_shift
from compressctl.numerics.qparams import affine, dequantize, quantize, symmetric
from compressctl.quantization.int8.placement import place
from compressctl.quantization.int8.quantizers import Settings, fold_weights, round_in_graph
from compressctl.quantization.int8.static import (
    add_hard_sigmoids,
    add_to_bias,
    insert_qdq,
    integer_bias,
    obstacle,
    output_axis,
    pad_integers,
    shield_float_nodes,
)
from compressctl.quantization.int8.written_out import write_in_one
from tests import graphs
from tests.quantization import reference
from tests.quantization.reference import executed

RNG = np.random.default_rng(7)
_ROWS = ("float[N,32] x", "float[N,16] y")
X = RNG.normal(size=(2, 4, 8, 8)).astype(np.float32)


def model(body: str, arrays: dict, x: str = "float[N,4,8,8] x", y: str = "float[N,C,H,W] y") -> ir.Model:
    return graphs.model(body, arrays, x, y)


def weights(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def quantized(m: ir.Model, x: np.ndarray, keep: tuple[str, ...] = (), **options: bool) -> ir.Model:
    """Quantize all Conv, Gemm and MatMul nodes but `keep`, with the ranges seen on x."""
    m = m.clone()
    chosen = {n for n in m.graph if n.op_type in ("Conv", "Gemm", "MatMul") and n.name not in keep}
    placement = place(m.graph, chosen)
    ranges = observed(m, [str(v.name) for v in placement.observed], x)
    insert_qdq(m, placement, ranges)
    fold_weights(m, round_in_graph(m, placement.weighted, Settings(**options)))
    pad_integers(m, placement)
    add_hard_sigmoids(m, placement)
    for activation in placement.activations:
        write_in_one(m, activation)
    assert not integer_bias(m, placement)
    shield_float_nodes(m, placement.weighted)
    remove_dead(m)
    verify_graph(m, where="test")
    return m


def observed(m: ir.Model, names: list[str], x: np.ndarray) -> dict[str, tuple[float, float]]:
    observed = m.clone()
    values = {v.name: v for node in observed.graph for v in node.outputs}
    for name in names:
        if name in values and not values[name].is_graph_output():
            values[name].dtype = ir.DataType.FLOAT
            observed.graph.outputs.append(values[name])
    results = {"x": x, **Session(observed, optimize=False).run({"x": x})}
    return {name: (float(results[name].min()), float(results[name].max())) for name in names}


def run(m: ir.Model, x: np.ndarray, *, optimize: bool) -> np.ndarray:
    return Session(m, optimize=optimize).run({"x": x})["y"]


def fake(x: np.ndarray, low: float, high: float) -> np.ndarray:
    qparams = affine(low, high)
    return dequantize(quantize(x, qparams), qparams)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("trans_b", [0, 1])
def test_gemm_chain_equals_numpy(per_channel, trans_b):
    k, v, b = weights(16, 32), weights(32, 10), RNG.normal(size=32).astype(np.float32)
    arrays = {"k": k.T.copy() if trans_b else k, "v": v, "b": b}
    m = model(
        f"h = Gemm<transB={trans_b}>(x, k, b) r = Relu(h) y = Gemm(r, v)", arrays, "float[N,16] x", "float[N,10] y"
    )
    x = RNG.normal(size=(64, 16)).astype(np.float32)
    q = quantized(m, x, per_channel=per_channel)

    axis = 1 if per_channel else None
    ks, vs = symmetric(k, axis), symmetric(v, axis)
    xq = affine(x.min(), x.max())
    scale = xq.scale * ks.scale
    bias = np.rint(b.astype(np.float64) / scale) * scale
    h = dequantize(quantize(x, xq), xq).astype(np.float64) @ dequantize(quantize(k, ks), ks) + bias
    hidden = np.maximum(x @ k + b, 0)
    expected = fake(np.maximum(h, 0).astype(np.float32), 0.0, hidden.max()).astype(np.float64) @ dequantize(
        quantize(v, vs), vs
    )
    got = run(q, x, optimize=False)
    # A hidden value that lies on a rounding edge may fall to the other side: at most one step of r in few rows.
    step = hidden.max() / 255 * np.abs(v).max()
    assert np.abs(got - expected).max() <= 1.01 * step
    assert np.mean(np.abs(got - expected) > 1e-5) < 0.02


def test_convolutions_run_as_integer_kernels(tmp_path):
    arrays = {"w": weights(8, 4, 3, 3), "v": weights(8, 8, 3, 3), "b": weights(8, 1)[:, 0], "k": weights(8, 10)}
    body = """
      c = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(c) d = Conv<pads=[1,1,1,1]>(r, v) a = Add(d, r) s = Relu(a)
      p = GlobalAveragePool(s) f = Flatten(p) y = Gemm(f, k)
    """
    m = model(body, arrays, y="float[N,10] y")
    q = quantized(m, X, reduced_range=reference.SATURATES)
    ops = executed(q, tmp_path)
    assert ops["QLinearConv"] == 2 and ops["QLinearAdd"] == 1 and ops["QGemm"] == 1
    assert ops["QLinearGlobalAveragePool"] == 1 and not ops["Conv"] and not ops["Relu"]
    float_y, int_y = run(m, X, optimize=True), run(q, X, optimize=True)
    assert np.square(int_y - float_y).sum() < 1e-2 * np.square(float_y).sum()


def test_relu6_folds_into_the_quantization(tmp_path):
    arrays = {"w": 5 * weights(8, 4, 3, 3), "lo": np.float32(0), "hi": np.float32(6), "v": weights(4, 8, 1, 1)}
    m = model("c = Conv(x, w) r = Clip(c, lo, hi) y = Conv(r, v)", arrays)
    ops = executed(quantized(m, 10 * X), tmp_path)
    assert ops["QLinearConv"] == 2 and not ops["Clip"]


@pytest.mark.parametrize("activation", ["{} = Relu({})", "{} = Clip({}, lo, hi)", "{} = LeakyRelu({})"])
def test_what_a_concat_reads_is_rounded_once_and_its_activation_folded(activation, tmp_path):
    """On the scale of the result, to the very integers: onnxruntime's QLinearConcat copies bytes then."""
    arrays = {"w": 3 * weights(8, 4, 3, 3), "v": weights(4, 4, 1, 1), "u": weights(4, 12, 1, 1)}
    arrays |= {"lo": np.float32(0), "hi": np.float32(0.5)}
    inputs = " ".join(activation.format(*pair) for pair in ("pc", "qd"))
    body = f"""
      c = Conv(x, w) d = Conv(x, v) {inputs} m = MaxPool<kernel_shape=[3,3]>(q) a = Concat<axis=1>(p, m) y = Conv(a, u)
    """
    m = model(body, arrays)
    q = quantized(m, X, reduced_range=reference.SATURATES)
    ops = executed(q, tmp_path)
    assert ops["QLinearConv"] == 3 and ops["QLinearConcat"] == 1 and not ops["Relu"] + ops["Clip"] + ops["Concat"]
    assert ops["QuantizeLinear"] == 1 and ops["DequantizeLinear"] == 1
    pairs = {n.inputs[0].name: n.inputs[1] for n in q.graph if n.op_type == "QuantizeLinear"}
    assert len({pairs[name] for name in ("p", "q", "m", "a")}) == 1
    float_y, int_y = run(m, X, optimize=True), run(q, X, optimize=True)
    assert np.square(int_y - float_y).sum() < 1e-2 * np.square(float_y).sum()


@pytest.mark.parametrize(
    ("carrier", "kernel"),
    [("DepthToSpace<blocksize = 2>", "DepthToSpace"), ("ReduceMax<axes = [2, 3]>", "ReduceMax"),
     ("ReduceMin<axes = [2, 3]>", "ReduceMin")],
)  # fmt: skip
def test_what_only_moves_or_picks_values_runs_on_integers(carrier, kernel, tmp_path):
    arrays = {"w": weights(16, 4, 3, 3), "v": weights(4, 4 if "Depth" in carrier else 16, 1, 1)}
    m = model(f"c = Conv<pads=[1,1,1,1]>(x, w) a = {carrier}(c) y = Conv(a, v)", arrays)
    q = quantized(m, X, reduced_range=reference.SATURATES)
    ops = executed(q, tmp_path)
    assert ops[kernel] == 1 and ops["QuantizeLinear"] == 1 and ops["DequantizeLinear"] == 1
    float_y, int_y = run(m, X, optimize=True), run(q, X, optimize=True)
    assert np.square(int_y - float_y).sum() < 1e-2 * np.square(float_y).sum()


def test_hard_sigmoid_runs_on_integers(tmp_path):
    arrays = {"w": 3 * weights(8, 4, 3, 3), "v": weights(4, 8, 1, 1)}
    m = model("c = Conv(x, w) h = HardSigmoid<alpha=0.16666667, beta=0.5>(c) a = Mul(c, h) y = Conv(a, v)", arrays)
    q = quantized(m, X, reduced_range=reference.SATURATES)
    ops = executed(q, tmp_path)
    assert ops["QLinearConv"] == 2 and ops["QLinearAdd"] == 1 and ops["QLinearMul"] == 1 and not ops["HardSigmoid"]
    read = {v.name: v for n in q.graph for v in n.outputs}
    for name in ("c_dequantized", "h_dequantized"):
        read[name].type = ir.TensorType(ir.DataType.FLOAT)
        q.graph.outputs.append(read[name])
    results = Session(q, optimize=False).run({"x": X})
    expected = np.clip(results["c_dequantized"] / 6 + 0.5, 0, 1)
    assert expected.min() == 0 and expected.max() == 1
    # Half a step of 1/255, and the shift of 3 is rounded to one step of the sum first.
    assert np.abs(results["h_dequantized"] - expected).max() < 0.51 / 255


def test_pad_between_convolutions_stays_among_integers(tmp_path):
    arrays = {"w": weights(8, 4, 3, 3), "v": weights(4, 8, 1, 1), "p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    m = model("c = Conv(x, w) d = Pad(c, p) y = Conv(d, v)", arrays)
    q = quantized(m, X, reduced_range=reference.SATURATES)
    ops = executed(q, tmp_path)
    assert ops["QLinearConv"] == 2 and ops["DequantizeLinear"] == 1 and ops["Pad"] == 1
    border = run(q, X, optimize=False)[:, :, 0, 0]
    assert np.array_equal(border, np.zeros_like(border))  # a Conv without bias of padding: 0.0 is exact


def test_a_layer_kept_in_float_is_not_quantized_behind_our_back(tmp_path):
    arrays = {"w": weights(8, 4, 3, 3), "v": weights(8, 8, 3, 3), "u": weights(4, 8, 1, 1), "b": weights(8, 1)[:, 0]}
    arrays["v"][0] *= 100  # one scale for the whole weight would round the other channels away
    m = model("c = Conv(x, w) r = Relu(c) d = Conv(r, v, b) s = Relu(d) y = Conv(s, u)", arrays)
    q = quantized(m, X, keep=("Conv_2",))
    ops = executed(q, tmp_path)
    assert ops["QLinearConv"] == 2
    assert ops["Conv"] + ops["FusedConv"] == 1


def test_transformer_layer_reads_integers_at_its_input_only(tmp_path):
    arrays = {"k": weights(16, 16), "b": weights(16, 1)[:, 0]}
    m = model("h = MatMul(x, k) a = Add(h, b) y = Add(a, x)", arrays, "float[N,8,16] x", "float[N,8,16] y")
    x = RNG.normal(size=(2, 8, 16)).astype(np.float32)
    q = quantized(m, x)
    assert Counter(n.op_type for n in q.graph)["QuantizeLinear"] == 1
    assert executed(q, tmp_path)["MatMulIntegerToFloat"] == 1
    last = next(n for n in q.graph if n.op_type == "Add" and n.outputs[0].is_graph_output())
    assert last.inputs[1].name == "x"


def test_output_names_stay(tmp_path):
    m = model("y = Conv(x, w)", {"w": weights(8, 4, 3, 3)})
    q = quantized(m, X)
    assert [v.name for v in q.graph.outputs] == ["y"] and q.graph.outputs[0].producer().op_type == "DequantizeLinear"


def test_channels_that_batchnorm_silenced_keep_their_bias():
    """Their own scale would be so small that the bias, in steps of input scale * weight scale, overflows 32 bits."""
    w, b = weights(8, 4, 3, 3), RNG.normal(size=8).astype(np.float32)
    w[:3] *= 1e-9
    m = model("c = Conv(x, w, b) y = Relu(c)", {"w": w, "b": b})
    y = run(quantized(m, X, reduced_range=reference.SATURATES), X, optimize=True)
    expected = run(m, X, optimize=False)
    assert np.abs(y - expected).max() < 0.03 * reference.STEP * expected.max()


def test_bias_correction_takes_back_the_mean_error():
    w = weights(8, 4, 1, 1)
    x = RNG.gamma(1.0, size=(16, 4, 8, 8)).astype(np.float32)
    m = model("y = Conv(x, w)", {"w": w}, "float[N,4,8,8] x")
    node = m.graph[0]
    (error,) = fold_weights(m, round_in_graph(m, [node], Settings(per_channel=False))).values()
    assert add_to_bias(m, node, -bias_shift(error, x.mean(axis=(0, 2, 3)), output_axis(node)))
    exact = np.einsum("nihw,oi->nohw", x.astype(np.float64), w[:, :, 0, 0])
    assert np.abs((run(m, x, optimize=False) - exact).mean(axis=(0, 2, 3))).max() < 1e-5
    assert np.abs(np.einsum("nihw,oi->nohw", x, error[:, :, 0, 0]).mean(axis=(0, 2, 3))).max() > 1e-4


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = MatMul(x, x)", "its weight is an input"),
        ("y = MatMul(k, x)", "first operand"),
        ("y = Gemm<transA=1>(x, k)", "transA"),
        ("y = Gemm<alpha=0.5>(x, k)", "alpha"),
        ("y = MatMul(x, z)", "zero"),
    ],
)
def test_obstacles_are_named(body, reason):
    arrays = {"k": weights(8, 8), "z": np.zeros((8, 8), np.float32)}
    m = model(body, arrays, "float[8,8] x", "float[8,8] y")
    assert reason in str(obstacle(m.graph[0]))


def test_weights_of_the_original_are_untouched():
    m = model("y = Conv(x, w)", {"w": weights(8, 4, 3, 3)})
    before = constant(m.graph[0].inputs[1]).copy()
    quantized(m, X)
    assert np.array_equal(constant(m.graph[0].inputs[1]), before)


def test_names_that_are_taken_stay_with_their_owners() -> None:
    m = model(
        """x_quantized = Conv(x, w)
        relu_dequantized = Relu(x_quantized)
        y = Conv(relu_dequantized, v)""",
        {"w": weights(8, 4, 3, 3), "v": weights(8, 8, 3, 3)},
    )
    for node, name in zip(m.graph, ("y_quantize", "x_quantize", "x_dequantize"), strict=True):
        node.name = name
    q = quantized(m, X)
    assert [output.name for output in q.graph.outputs] == ["y"]
    names = [node.name for node in q.graph]
    assert len(names) == len(set(names))
    assert Session(q).run({"x": X})["y"].shape == (2, 8, 4, 4)


@pytest.mark.parametrize(("op", "kernel"), [("Gemm", "QGemm"), ("MatMul", "QLinearMatMul")])
@pytest.mark.parametrize("activation", ["Relu(g)", "Clip(g, lo, hi)"])
def test_a_kernel_forms_before_an_activation_that_float_nodes_read(op, kernel, activation, tmp_path) -> None:
    bounds = {"lo": np.float32(0), "hi": np.float32(6)} if "Clip" in activation else {}
    arrays = {"w": weights(32, 16), **bounds}
    q = quantized(
        model(f"g = {op}(x, w) k = {activation} y = Tanh(k)", arrays, *_ROWS),
        RNG.normal(size=(4, 32)).astype(np.float32),
    )
    save_model(q, tmp_path / "q.onnx", overwrite=True)
    assert executed_ops(tmp_path / "q.onnx")[kernel] == 1


@pytest.mark.parametrize("shape", [(), (1,), (1, 16), (16,)])
def test_every_form_of_a_gemm_bias_becomes_integer(shape) -> None:
    x = RNG.normal(size=(4, 32)).astype(np.float32)
    arrays = {"w": weights(32, 16), "b": np.full(shape, 0.7, np.float32)}
    q = quantized(model("y = Gemm(x, w, b)", arrays, *_ROWS), x, reduced_range=reference.SATURATES)
    exact = x @ arrays["w"] + np.float32(0.7)
    error = np.abs(Session(q).run({"x": x})["y"] - exact).max()
    assert error < 0.02 * reference.STEP * np.abs(exact).max()
