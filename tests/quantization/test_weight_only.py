"""Layers whose weights are stored in few bits: what onnxruntime computes, and that decoding costs it nothing."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compressctl.errors import ModelError, UsageError
from compressctl.model.graph import constant
from compressctl.model.save import save_model
from compressctl.numerics.grids import INT4
from compressctl.numerics.levels import fit_levels
from compressctl.numerics.packing import packed_bytes
from tests import graphs
from tests.quantization import reference
from tests.quantization.weight_only import SCHEMES, compress, symmetric, texts, weights

LEVELS = {"int8-weights": 256, "int4": 16, "int3": 8, "int2": 4, "ternary": 3, "int1": 2}

# body, shape of the weight, of x, output; and which view of the weight has an output a row
CASES = {
    "MatMul": ("y = MatMul(x, w)", (48, 96), (3, 48), lambda w: w.T),
    "left MatMul": ("y = MatMul(w, x)", (96, 48), (48, 3), lambda w: w),
    "Gemm": ("y = Gemm<transB = 1>(x, w)", (96, 48), (3, 48), lambda w: w),
    "Conv": ("y = Conv(x, w)", (32, 16, 3, 3), (2, 16, 6, 6), lambda w: w.reshape(32, -1)),
    "grouped Conv": ("y = Conv<group = 2>(x, w)", (32, 16, 3, 3), (2, 32, 6, 6), lambda w: w.reshape(32, -1)),
    "ConvTranspose": ("y = ConvTranspose(x, w)", (64, 16, 2, 2), (2, 64, 3, 3), lambda w: w.reshape(64, -1).T),
}


def build(case: str, weight: np.ndarray, opset: int = 13) -> ir.Model:
    body, _, shape, _ = CASES[case]
    output = ", ".join("abcd"[: len(shape)])
    return graphs.model(body, {"w": weight}, f"float[{', '.join(map(str, shape))}] x", f"float[{output}] y", opset)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", CASES)
def test_a_layer_computes_with_integers_times_a_scale_a_channel(tmp_path, case, scheme):
    _, shape, x, rows = CASES[case]
    weight = weights(*shape)
    rounded = np.empty_like(weight)
    rows(rounded)[...] = symmetric(rows(weight), scheme)
    feeds = {"x": weights(*x, seed=1)}
    model = build(case, weight)
    outcome = compress(model, scheme, tmp_path, group_size="channel", symmetric=True)
    expected, found = (reference.run(m, feeds)[0] for m in (build(case, rounded), outcome.model))
    np.testing.assert_array_equal(found, expected)
    assert set(reference.executed(outcome.model, tmp_path)) <= {case.split()[-1], "ReorderInput", "ReorderOutput"}
    assert outcome.model.opset_imports == {"": 13}
    assert "w" not in outcome.model.graph.initializers
    (row,) = outcome.facts["weights"]
    assert row["bytes"] == packed_bytes(weight.size, LEVELS[scheme]) + 2 * len(rows(weight))


@pytest.mark.parametrize("case", ["MatMul", "Gemm"])
def test_groups_have_a_scale_and_an_offset_each(tmp_path, case):
    _, shape, x, rows = CASES[case]
    weight = weights(*shape)
    groups = rows(weight).reshape(-1, 16)
    levels = fit_levels(groups, INT4, offset=True)
    codes = np.clip(np.rint((groups - levels.offset[:, None].astype("f")) / levels.scale[:, None].astype("f")), 0, 15)
    rounded = np.empty_like(weight)
    values = codes.astype(np.float32) * levels.scale[:, None].astype("f") + levels.offset[:, None].astype("f")
    rows(rounded)[...] = values.reshape(rows(weight).shape)
    outcome = compress(build(case, weight), "int4", tmp_path, group_size=16)
    feeds = {"x": weights(*x, seed=1)}
    expected, found = (reference.run(m, feeds)[0] for m in (build(case, rounded), outcome.model))
    np.testing.assert_array_equal(found, expected)
    assert outcome.facts["weights"][0]["group"] == 16


def test_a_tensor_may_share_one_scale(tmp_path):
    weight = weights(48, 96)
    outcome = compress(build("MatMul", weight), "int3", tmp_path, group_size="tensor", symmetric=True)
    feeds = {"x": weights(3, 48, seed=1)}
    rounded = symmetric(weight.reshape(1, -1), "int3").reshape(weight.shape)
    expected, found = (reference.run(m, feeds)[0] for m in (build("MatMul", rounded), outcome.model))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("inputs", "asked", "size", "said"),
    [
        (96, 64, 32, "groups of 32 share a scale: 64 does not divide its 96 inputs"),
        (40, 32, 40, "each output has one scale: no group of 16 to 32 divides its 40 inputs"),
        (48, 64, 48, None),
        (128, None, 64, None),
    ],
)
def test_groups_that_do_not_divide_are_said(tmp_path, inputs, asked, size, said):
    model = graphs.model("y = MatMul(x, w)", {"w": weights(inputs, 64)}, f"float[n, {inputs}] x", "float[n, 64] y")
    outcome = compress(model, "int4", tmp_path, group_size=asked)
    assert outcome.facts["weights"][0]["group"] == size
    assert (" share a scale" in texts(outcome) or "one scale" in texts(outcome)) == (said is not None)
    assert (said or "") in texts(outcome)


def test_lstm(tmp_path):
    w, r = weights(1, 64, 32), weights(1, 64, 16, seed=1)

    def build(w, r):
        x, y = "float[t, n, 32] x", "float[t, 1, n, 16] y"
        return graphs.model("y = LSTM<hidden_size = 16>(x, w, r)", {"w": w, "r": r}, x, y)

    outcome = compress(build(w, r), "int4", tmp_path, group_size="channel", symmetric=True)
    assert {row["weight"] for row in outcome.facts["weights"]} == {"w", "r"}
    rounded = [symmetric(one.reshape(64, -1), "int4").reshape(one.shape) for one in (w, r)]
    feeds = {"x": weights(5, 2, 32, seed=2)}
    (expected,), (found,) = (reference.run(m, feeds) for m in (build(*rounded), outcome.model))
    np.testing.assert_array_equal(found, expected)
    assert reference.executed(outcome.model, tmp_path) == {"LSTM": 1}


def test_a_shared_weight_is_stored_once(tmp_path):
    body = "a = MatMul(x, w) b = MatMul(a, w) y = Sub(a, b)"
    model = graphs.model(body, {"w": weights(64, 64)}, "float[n, 64] x", "float[n, 64] y")
    outcome = compress(model, "int4", tmp_path)
    assert len(outcome.facts["weights"]) == 1
    packed = [v for v in model.graph.initializers.values() if v.const_value.nbytes >= 2048]
    assert len(packed) == 1
    assert reference.executed(model, tmp_path) == {"MatMul": 2, "Sub": 1}


def test_first_and_last_layers_may_keep_eight_bits(tmp_path):
    body = "a = MatMul(x, u) b = Relu(a) c = MatMul(b, v) d = Relu(c) y = MatMul(d, w)"
    arrays = {name: weights(64, 64, seed=seed) for seed, name in enumerate("uvw")}
    model = graphs.model(body, arrays, "float[n, 64] x", "float[n, 64] y")
    outcome = compress(model, "int2", tmp_path, first_last="int8")
    assert [row["bits"] for row in outcome.facts["weights"]] == [8, 2, 8]
    feeds = {"x": weights(3, 64, seed=9)}
    reference.run(model, feeds)


@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_models_of_other_float_types_keep_them(tmp_path, dtype):
    kind = np.dtype(dtype)
    weight = weights(64, 64).astype(kind)

    def build(weight):
        return graphs.model("y = MatMul(x, w)", {"w": weight}, f"{dtype}[n, 64] x", f"{dtype}[n, 64] y")

    model = build(weight)
    compress(model, "int4", tmp_path, symmetric=True, group_size="channel")
    rounded = symmetric(np.ascontiguousarray(weight.astype(np.float32).T), "int4").T.astype(kind)
    (found,) = reference.run(model, {"x": np.eye(64, dtype=kind)})
    np.testing.assert_array_equal(found, rounded)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", [0.0, 0.37, -3e-9, 2e30])
def test_constant_tensors_keep_their_value(tmp_path, scheme, value):
    weight = np.full((64, 64), value, np.float32)
    model = build_square(weight)
    compress(model, scheme, tmp_path)
    (found,) = reference.run(model, {"x": np.eye(64, dtype=np.float32)})
    np.testing.assert_allclose(found, weight, rtol=2**-10, atol=0)


def build_square(weight: np.ndarray) -> ir.Model:
    return graphs.model("y = MatMul(x, w)", {"w": weight}, "float[n, 64] x", "float[n, 64] y")


@pytest.mark.parametrize("rounding", ["nearest", "hqq"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused_by_name(tmp_path, bad, rounding):
    weight = weights(64, 64)
    weight[3, 5] = bad
    with pytest.raises(ModelError, match="weight 'w' holds NaN"):
        compress(build_square(weight), "int4", tmp_path, rounding=rounding)


def test_what_would_not_shrink_stays_and_is_said(tmp_path):
    model = graphs.model("y = MatMul(x, w)", {"w": weights(4, 4)}, "float[n, 4] x", "float[n, 4] y")
    outcome = compress(model, "int4", tmp_path)
    assert "too small" in texts(outcome) and "nothing was stored" in texts(outcome)
    assert [node.op_type for node in model.graph] == ["MatMul"]


@pytest.mark.parametrize(("chosen", "left"), [({"include_op": ["Gemm"]}, "y"), ({"exclude_op": ["Gemm"]}, "a")])
@pytest.mark.parametrize("scheme", ["int4", "int8-weights"])
def test_operators_choose_under_every_scheme(chosen, left, scheme, tmp_path):
    arrays = {name: weights(64, 64, seed=seed) for seed, name in enumerate("uv")}
    model = graphs.model("a = MatMul(x, u) y = Gemm(a, v)", arrays, "float[n, 64] x", "float[n, 64] y")
    (row,) = compress(model, scheme, tmp_path, **chosen).facts["weights"]
    assert left in {value.name for node in model.graph if node.name == row["layer"] for value in node.outputs}


def test_globs_choose(tmp_path):
    body = "[first] a = MatMul(x, u) [second] y = MatMul(a, v)"
    arrays = {name: weights(64, 64, seed=seed) for seed, name in enumerate("uv")}
    model = graphs.model(body, arrays, "float[n, 64] x", "float[n, 64] y")
    assert [row["layer"] for row in compress(model.clone(), "int4", tmp_path, include=["f*"]).facts["weights"]] == [
        "first"
    ]
    assert [row["layer"] for row in compress(model.clone(), "int4", tmp_path, exclude=["f*"]).facts["weights"]] == [
        "second"
    ]
    with pytest.raises(UsageError, match="'third' matches no node"):
        compress(model, "int4", tmp_path, include=["third"])


def test_the_same_model_gives_the_same_bytes(tmp_path):
    files = []
    for name in ("a", "b"):
        model = build_square(weights(64, 64))
        compress(model, "int3", tmp_path)
        save_model(model, tmp_path / f"{name}.onnx", overwrite=False)
        files.append((tmp_path / f"{name}.onnx").read_bytes())
    assert files[0] == files[1]
    onnx.checker.check_model(tmp_path / "a.onnx", full_check=True)


def test_simplify_leaves_the_stored_form(tmp_path):
    from compressctl.passes import simplify
    from compressctl.passes.base import Context

    model = build_square(weights(64, 64))
    compress(model, "int4", tmp_path)
    before = sum(v.const_value.nbytes for v in model.graph.initializers.values())
    simplify.Config().run(model, Context(baseline=model, workdir=tmp_path))
    after = sum(v.const_value.nbytes for v in model.graph.initializers.values() if constant(v) is not None)
    assert after <= before
