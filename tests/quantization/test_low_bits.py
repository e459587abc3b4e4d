"""Weights on few integers: scales against brute force, rounding against onnxruntime, and the kernels that form."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compressctl.data.random import RandomSource
from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.model.load import interface
from compressctl.model.verify import verify_graph
from compressctl.numerics.grids import BINARY, INT2, INT3, INT4, INT8, REDUCED, TERNARY
from compressctl.numerics.qparams import QParams, dequantize, symmetric
from compressctl.numerics.rounding import neighbours, round_weights, weight_qparams
from compressctl.passes import quantize
from compressctl.passes.base import Outcome
from compressctl.quantization.int8.plan import QuantizationPlan, make_plan, weight_grids
from compressctl.quantization.int8.quantizers import Settings, fold_weights, round_in_graph
from compressctl.selection import Selection
from tests import graphs
from tests.passes import apply
from tests.quantization.reference import executed, weight_integers

RNG = np.random.default_rng(4)
NARROW = {"int4": INT4, "int3": INT3, "int2": INT2, "ternary": TERNARY, "binary": BINARY}
GRIDS = {"int8": INT8, "reduced": REDUCED, **NARROW}
FLOATS = st.floats(-100, 100, width=32).map(lambda x: x if abs(x) > 1e-20 else 0.0)


def _errors(w: np.ndarray, qparams: QParams, grid) -> np.ndarray:
    """Squared error of each row."""
    rounded = dequantize(round_weights(w, qparams, grid), qparams)
    return np.square(rounded.astype(np.float64) - w).sum(axis=tuple(range(1, w.ndim)))


@settings(max_examples=50, deadline=None)
@given(w=arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 30)), elements=FLOATS))
@pytest.mark.parametrize("grid", [INT4, INT3, INT2, TERNARY])
def test_no_channel_is_worse_than_with_the_scale_that_covers_it(grid, w):
    cover = symmetric(w, 0, high=grid.high)
    least = _errors(w, cover, grid)
    assert np.all(_errors(w, weight_qparams(w, 0, grid), grid) <= least * (1 + 1e-6) + 1e-30)


@pytest.mark.parametrize("grid", [INT4, INT3, INT2])
def test_the_scale_found_is_as_good_as_a_fine_search(grid):
    w = RNG.standard_normal((4, 500)).astype(np.float32)
    found = _errors(w, weight_qparams(w, 0, grid), grid)
    cover = symmetric(w, 0, high=grid.high)
    tried = [
        _errors(w, QParams((cover.scale * ratio).astype(np.float32), cover.zero_point, "int8", 0), grid)
        for ratio in np.linspace(0.05, 1.2, 1000)
    ]
    assert np.all(found <= 1.01 * np.min(tried, axis=0))
    assert np.all(found < 0.9 * _errors(w, cover, grid))


@settings(max_examples=50, deadline=None)
@given(w=arrays(np.float32, st.tuples(st.just(1), st.integers(1, 12)), elements=FLOATS))
def test_ternary_and_binary_scales_are_optimal(w):
    power = np.square(w, dtype=np.float64).sum()
    kept = np.sort(np.abs(w[0]).astype(np.float64))[::-1]
    # The best scale for the k largest is their mean, and leaves the error power - k * mean^2.
    best = power - max(kept[:k].sum() ** 2 / k for k in range(1, kept.size + 1))
    assert _errors(w, weight_qparams(w, 0, TERNARY), TERNARY)[0] <= best + 1e-5 * power
    one_bit = weight_qparams(w, None, BINARY)
    assert _errors(w, one_bit, BINARY)[0] <= power - kept.sum() ** 2 / kept.size + 1e-5 * power + 1e-30


@settings(max_examples=30, deadline=None)
@given(w=arrays(np.float32, (3, 8), elements=FLOATS))
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_rounding_takes_the_nearer_neighbour(grid, w):
    qparams = weight_qparams(w, 0, grid)
    low, high, share = neighbours(w, qparams, grid)
    assert np.all((low <= high) & (share >= 0) & (share <= 1) & (low >= grid.low) & (high <= grid.high))
    integers = round_weights(w, qparams, grid)
    assert np.all((integers == low) | (integers == high))
    if grid.signs:
        assert set(np.unique(integers)) <= {-1, 1}
    decided = np.abs(share - 0.5) > 1e-3
    np.testing.assert_array_equal(integers[decided], np.where(share > 0.5, high, low)[decided])


def test_what_is_not_finite_is_refused_by_name():
    with pytest.raises(ModelError, match="the weight 'k' holds NaN"):
        weight_qparams(np.array([[np.nan]], np.float32), 0, INT4, name="the weight 'k'")


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_graph_and_folded_graph_round_as_numpy(grid, per_channel):
    w = np.concatenate([RNG.standard_normal((6, 4)), np.zeros((1, 4)), [[9, -9, 0.5, -0.0]]]).astype(np.float32)
    m = graphs.model("y = MatMul(x, w)", {"w": w}, "float[N,8] x", "float[N,4] y")
    one = Settings(per_channel=per_channel, grids={"MatMul_0": grid})
    x = np.eye(8, dtype=np.float32)
    quantizers = round_in_graph(m, list(m.graph), one)
    verify_graph(m, where="test")
    qparams = weight_qparams(w, 1 if per_channel else None, grid)
    expected = dequantize(round_weights(w, qparams, grid), qparams)
    np.testing.assert_array_equal(Session(m, optimize=False).run({"x": x})["y"], expected)
    (error,) = fold_weights(m, quantizers).values()
    np.testing.assert_array_equal(error, expected - w)
    verify_graph(m, where="test")
    assert [node.op_type for node in m.graph] == ["DequantizeLinear", "MatMul"]
    assert set(m.graph.initializers) == {"w_int8", "w_scale", "w_zero_point"}
    np.testing.assert_array_equal(Session(m, optimize=False).run({"x": x})["y"], expected)


def _conv_net() -> ir.Model:
    body = """
      a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) c = Conv<pads=[1,1,1,1]>(r, v) d = Add(c, r) s = Relu(d)
      e = Conv<pads=[1,1,1,1]>(s, u, b) t = Relu(e) p = GlobalAveragePool(t) f = Flatten(p) y = Gemm(f, k)
    """
    shapes = {"w": (16, 3, 3, 3), "v": (16, 16, 3, 3), "u": (16, 16, 3, 3), "k": (16, 5)}
    weights = {n: (RNG.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype("f") for n, s in shapes.items()}
    return graphs.model(body, {**weights, "b": np.full(16, 0.1, "f")}, "float[N,3,8,8] x", "float[N,5] y")


def _quantized(m: ir.Model, folder: Path, **options) -> Outcome:
    source = RandomSource("random:8", interface(m)[0], 8, 0, {})
    return apply(quantize, m, folder, source, **{"target": "vnni", **options})


@pytest.mark.parametrize("scheme", ["w4a8", "w3a8", "w2a8", "ternary-a8", "w1a8"])
def test_integer_kernels_form_on_narrow_weights(scheme, tmp_path):
    m = _conv_net()
    outcome = _quantized(m, tmp_path, scheme=scheme)
    low, high = {"w4a8": (-8, 7), "w3a8": (-4, 3), "w2a8": (-2, 1)}.get(scheme, (-1, 1))
    stored = weight_integers(outcome.model)
    assert set(stored) == {"w_int8", "v_int8", "u_int8", "k_int8"}
    for name, integers in stored.items():
        inside = integers.min() >= low and integers.max() <= high
        assert inside == (name in ("v_int8", "u_int8")), "the first and the last layer keep 8 bits"
        assert scheme != "w1a8" or name in ("w_int8", "k_int8") or np.all(integers != 0)
    ops = executed(outcome.model, tmp_path)
    assert ops["QLinearConv"] == 3 and ops["QGemm"] == 1 and not ops["Conv"] and not ops["Relu"]
    packed = {"w4a8": 2 * 1152, "w3a8": 2 * (576 + 288), "w2a8": 2 * 576, "ternary-a8": 2 * 461, "w1a8": 2 * 288}
    assert [note.text for note in outcome.notes if "packed" in note.text] == [
        f"2 weights packed: 4,608 bytes of integers in {packed[scheme]:,}"
    ]
    parts = {n: v.const_value.nbytes for n, v in outcome.model.graph.initializers.items() if "int8_packed" in n}
    assert sum(parts.values()) == packed[scheme]


def test_packed_weights_are_the_integers_that_were_rounded(tmp_path):
    m = _conv_net()
    model = _quantized(m, tmp_path, scheme="w3a8").model
    for name, axis in (("v", 0), ("u", 0)):
        real = m.graph.initializers[name].const_value.numpy()
        qparams = weight_qparams(real, axis, INT3)
        scale = model.graph.initializers[f"{name}_scale"].const_value.numpy()
        np.testing.assert_array_equal(scale, qparams.scale)
        np.testing.assert_array_equal(weight_integers(model)[f"{name}_int8"], round_weights(real, qparams, INT3))


def test_fewer_bits_do_more_harm_and_all_layers_more_than_the_inner_ones(tmp_path):
    m = _conv_net()
    x = RNG.standard_normal((4, 3, 8, 8)).astype("f")
    exact = Session(m).run({"x": x})["y"]

    def noise(**options) -> float:
        model = _quantized(m, tmp_path, **options).model
        return float(np.square(Session(model, optimize=False).run({"x": x})["y"] - exact).mean())

    steps = [noise(scheme=scheme) for scheme in ("int8", "w4a8", "w2a8")]
    assert steps[0] < steps[1] < steps[2]
    assert noise(scheme="w4a8", first_last="same") > steps[1]


def test_edges_are_the_layers_that_no_layer_precedes_or_follows():
    k = np.eye(4, dtype="f")
    body = """
      a = MatMul(x, k) b = MatMul(x, k) c = Add(a, b) d = MatMul(c, k) e = Relu(d) y = MatMul(e, k) f = MatMul(e, k)
      z = Softmax(f)
    """
    m = graphs.model(body, {"k": k}, "float[N,4] x", "float[N,4] y, float[N,4] z")
    plan, _ = make_plan(m, "w4a8", Selection(), calibrated=True, embeddings=True)
    assert len(plan.static) == 5
    assert weight_grids(m, plan, "w4a8", "int8") == {"MatMul_3": INT4}
    assert weight_grids(m, plan, "w4a8", "same") == dict.fromkeys(plan.static, INT4)
    assert weight_grids(m, plan.without(["MatMul_3"]), "w4a8", "int8") == {}
    assert weight_grids(m, plan, "int8", "same") == {}


def test_the_choice_of_float_layers_can_be_repeated_with_every_option(tmp_path):
    m = _conv_net()
    outcome = _quantized(m, tmp_path, scheme="w4a8", keep_float=1, exclude_op=("Gemm",))
    (pinned,) = yaml.safe_load("\n".join(outcome.facts["recipe_lines"]))
    again = _quantized(m, tmp_path, **pinned)
    assert pinned["scheme"] == "w4a8" and "keep_float" not in pinned
    assert again.model.graph.initializers.keys() == outcome.model.graph.initializers.keys()


def test_nodes_that_share_a_weight_share_its_integers():
    k = RNG.standard_normal((4, 4)).astype("f")
    m = graphs.model("a = MatMul(x, k) y = MatMul(a, k)", {"k": k}, "float[N,4] x", "float[N,4] y")
    quantizers = round_in_graph(m, list(m.graph), Settings(grids={"MatMul_0": INT4, "MatMul_1": INT4}))
    assert quantizers[0].scale is quantizers[1].scale
    fold_weights(m, quantizers)
    assert Counter(name.split("_")[1] for name in m.graph.initializers) == {"int8": 1, "scale": 1, "zero": 1}


def test_a_layer_left_out_of_the_plan_changes_no_edge(tmp_path):
    m = _conv_net()
    plan = QuantizationPlan(("Conv_2",))
    assert weight_grids(m, plan, "w4a8", "int8") == {"Conv_2": INT4}
