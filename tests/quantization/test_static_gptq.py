"""GPTQ in static quantization: less noise than rounding to the nearest, on the same grid, at the same scales."""

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.data.random import RandomSource
from compressctl.measure.session import Session
from compressctl.model.load import interface
from compressctl.passes import quantize
from compressctl.passes.base import Outcome
from tests import graphs
from tests.passes import apply
from tests.quantization.reference import executed, weight_integers

RNG = np.random.default_rng(11)


def _net() -> ir.Model:
    body = """
      a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) c = Conv<pads=[1,1,1,1], group=2>(r, v, b) s = Relu(c)
      e = Conv<pads=[1,1,1,1]>(s, u) t = Relu(e) p = GlobalAveragePool(t) f = Flatten(p) y = Gemm(f, k, g)
    """
    shapes = {"w": (24, 3, 3, 3), "v": (24, 12, 3, 3), "u": (24, 24, 3, 3), "k": (24, 5)}
    weights = {n: (RNG.standard_normal(s) / np.sqrt(np.prod(s[1:]) / 2)).astype("f") for n, s in shapes.items()}
    biases = {"b": np.full(24, 0.1, "f"), "g": np.zeros(5, "f")}
    return graphs.model(body, {**weights, **biases}, "float[N,3,8,8] x", "float[N,5] y")


def _quantized(m: ir.Model, folder, **options) -> Outcome:
    source = RandomSource("random:64", interface(m)[0], 64, 0, {})
    return apply(quantize, m, folder, source, target="vnni", first_last="same", **options)


@pytest.mark.parametrize(("scheme", "low", "high"), [("w4a8", -8, 7), ("w3a8", -4, 3), ("ternary-a8", -1, 1)])
def test_outputs_are_nearer_to_the_float_models_than_with_rounding_to_the_nearest(scheme, low, high, tmp_path):
    m = _net()
    x = RandomSource("random:64", interface(m)[0], 64, 0, {}).first(64)
    exact = Session(m).run(x)["y"]
    noise = {}
    for rounding in ("nearest", "gptq"):
        model = _quantized(m, tmp_path, scheme=scheme, rounding=rounding).model
        noise[rounding] = np.square(Session(model).run(x)["y"] - exact).mean()
        integers = weight_integers(model)
        assert len(integers) == 4
        assert all(low <= array.min() and array.max() <= high for array in integers.values())
        ops = executed(model, tmp_path)
        assert ops["QLinearConv"] == 3 and ops["QGemm"] == 1
    assert noise["gptq"] < 0.7 * noise["nearest"]


def test_scales_stay_and_the_same_samples_give_the_same_integers(tmp_path):
    m = _net()
    nearest = _quantized(m, tmp_path, scheme="w4a8").model
    first, second = (_quantized(m, tmp_path, scheme="w4a8", rounding="gptq").model for _ in range(2))
    for name in ("w_scale", "v_scale", "u_scale", "k_scale"):
        expected = nearest.graph.initializers[name].const_value.numpy()
        np.testing.assert_array_equal(first.graph.initializers[name].const_value.numpy(), expected)
    for name, array in weight_integers(first).items():
        np.testing.assert_array_equal(array, weight_integers(second)[name])
        assert np.any(array != weight_integers(nearest)[name])


def test_a_weight_of_two_layers_is_rounded_to_the_nearest_and_said(tmp_path):
    k = (RNG.standard_normal((32, 32)) / 6).astype("f")
    m = graphs.model("a = MatMul(x, k) r = Relu(a) y = MatMul(r, k)", {"k": k}, "float[N,32] x", "float[N,32] y")
    outcome = _quantized(m, tmp_path, scheme="w4a8", rounding="gptq")
    told = [note.text for note in outcome.notes if "nearest" in note.text]
    assert told == ["rounded to the nearest: other nodes use its weight, too"] * 2
