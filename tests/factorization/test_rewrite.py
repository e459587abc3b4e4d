"""Factored graphs against the original: at full rank the outputs are the same, whatever the geometry."""

import numpy as np
import pytest

from compressctl.factorization.costs import factored_macs, latency_ratio, macs
from compressctl.factorization.forms import forms
from compressctl.factorization.rewrite import replace
from compressctl.layers.linear import linear_layers
from compressctl.measure.session import Session
from compressctl.model.graph import remove_dead
from compressctl.model.size import count
from compressctl.numerics.low_rank import RowMoments
from tests import graphs

RNG = np.random.default_rng(21)

LAYERS = {  # body, shape of the weight w, shape of the bias b, shape of the input x
    "matmul": ("y = MatMul(x, w)", (5, 7), 7, (2, 3, 5)),
    "matmul, constant first": ("y = MatMul(w, x)", (7, 5), 7, (2, 5, 3)),
    "gemm": ("y = Gemm<alpha = 0.5, beta = 2.0>(x, w, b)", (5, 7), 7, (3, 5)),
    "gemm without bias": ("y = Gemm(x, w)", (5, 7), 7, (3, 5)),
    "gemm, transposed": ("y = Gemm<transA = 1, transB = 1>(x, w, b)", (7, 5), 7, (5, 3)),
    "conv": (
        "y = Conv<pads = [1, 0, 2, 1], strides = [2, 1], dilations = [1, 2]>(x, w, b)",
        (4, 3, 3, 2),
        4,
        (2, 3, 7, 6),
    ),
    "conv, strided the other way": ("y = Conv<strides = [1, 3]>(x, w)", (4, 3, 2, 3), 4, (1, 3, 7, 8)),
    "conv, same": ('y = Conv<auto_pad = "SAME_LOWER", strides = [2, 2]>(x, w, b)', (4, 3, 2, 4), 4, (1, 3, 7, 6)),
    "conv, valid": ('y = Conv<auto_pad = "VALID">(x, w, b)', (4, 3, 2, 3), 4, (1, 3, 7, 6)),
    "pointwise conv": ("y = Conv<strides = [2, 2]>(x, w, b)", (4, 6, 1, 1), 4, (1, 6, 5, 5)),
    "1-d conv": ("y = Conv<pads = [2, 1], dilations = [2]>(x, w, b)", (4, 3, 3), 4, (2, 3, 9)),
    "3-d conv": ("y = Conv<pads = [1, 0, 0, 0, 1, 0]>(x, w, b)", (4, 3, 3, 2, 1), 4, (1, 3, 4, 5, 3)),
}
CASES = [
    (name, method)
    for name, (_, weight, _, _) in LAYERS.items()
    for method in ("svd", "tucker", "spatial")
    if method == "svd" or (np.prod(weight[2:]) > 1 and (method == "tucker" or len(weight) == 4))
]


def _model(name: str):
    body, weight, bias, shape = LAYERS[name]
    arrays = {"w": RNG.standard_normal(weight).astype("f"), "b": RNG.standard_normal(bias).astype("f")}
    model = graphs.model(
        body, arrays, f"float[{', '.join(map(str, shape))}] x", f"float[{', '.join('abcde'[: len(shape)])}] y"
    )
    return model, RNG.standard_normal(shape).astype("f")


@pytest.mark.parametrize(("name", "method"), CASES)
@pytest.mark.parametrize("observed", [False, True])
def test_full_rank_computes_the_same(name, method, observed):
    model, x = _model(name)
    (layer,) = linear_layers(model.graph)
    size = layer.shape[2]
    spread = RNG.standard_normal((4 * size, size))
    moments = RowMoments(spread.T @ spread / len(spread), spread.mean(axis=0), len(spread)) if observed else None
    (form,) = forms(layer, moments, method)
    assert form.method == method
    factors = form.build(form.full)
    assert factors.error < 1e-5
    for array, shape in zip(factors.weights, form.shapes(form.full), strict=True):
        assert sorted(array.shape) == sorted(shape)
    expected = Session(model, threads=1).run({"x": x})["y"]
    cost = macs(layer, x.shape), factored_macs(layer, x.shape, method, form.shapes(form.full))
    before = count(model).macs
    replace(model.graph, [layer], factors)
    remove_dead(model)
    np.testing.assert_allclose(Session(model, threads=1).run({"x": x})["y"], expected, rtol=1e-3, atol=1e-4)
    assert cost == (before, count(model).macs)  # counted on the graph


def test_a_shared_weight_is_factored_once():
    arrays = {"w": RNG.standard_normal((8, 8)).astype("f")}
    model = graphs.model("a = MatMul(x, w) r = Relu(a) y = MatMul(r, w)", arrays, "float[2, 8] x", "float[2, 8] y")
    layers = linear_layers(model.graph)
    (form,) = forms(layers[0], None, "auto")
    x = RNG.standard_normal((2, 8)).astype("f")
    factors = form.build((3,))
    down, up = (array.astype(np.float64) for array in factors.weights)
    replace(model.graph, layers, factors)
    remove_dead(model)
    assert sorted(model.graph.initializers) == ["w_down", "w_up"]
    assert [node.name for node in model.graph] == [
        "MatMul_0_down",
        "MatMul_0_up",
        "Relu_1",
        "MatMul_2_down",
        "MatMul_2_up",
    ]
    expected = np.maximum(x @ down @ up, 0) @ down @ up
    np.testing.assert_allclose(Session(model, threads=1).run({"x": x})["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_factors_have_the_type_of_the_weight(dtype):
    arrays = {"w": RNG.standard_normal((6, 6)).astype(dtype)}
    kind = {np.float16: "float16", np.float64: "double"}[dtype]
    model = graphs.model("y = MatMul(x, w)", arrays, f"{kind}[2, 6] x", f"{kind}[2, 6] y")
    x = RNG.standard_normal((2, 6)).astype(dtype)
    (layer,) = linear_layers(model.graph)
    (form,) = forms(layer, None, "svd")
    expected = Session(model, threads=1).run({"x": x})["y"]
    replace(model.graph, [layer], form.build((6,)))
    found = Session(model, threads=1).run({"x": x})["y"]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=3e-2, atol=3e-2)


def test_half_the_work_of_a_large_layer_is_faster(tmp_path, resources):
    arrays = {"w": RNG.standard_normal((512, 512)).astype("f"), "b": np.zeros(512, "f")}
    model = graphs.model("y = Gemm(x, w, b)", arrays, "float[N, 512] x", "float[N, 512] y")
    (layer,) = linear_layers(model.graph)
    (form,) = forms(layer, None, "svd")
    ratio = latency_ratio(model, layer, form.build((32,)), (128, 512), resources)
    assert ratio.high < 1  # 0.125 of the multiplications: a busy machine does not hide that
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.8])
@pytest.mark.parametrize(
    ("weight", "method"), [((64, 128), "svd"), ((64, 48, 3, 3), "spatial"), ((64, 48, 3), "tucker")]
)
def test_ranks_for_a_ratio_are_the_highest_that_fit(weight, method, ratio):
    arrays = {"w": RNG.standard_normal(weight).astype("f")}
    body, dims = ("y = MatMul(x, w)", "2, 64") if len(weight) == 2 else ("y = Conv(x, w)", "1, 48, 9, 9")
    model = graphs.model(body, arrays, f"float[{dims if len(weight) != 3 else '1, 48, 9'}] x", "float y")
    (form,) = forms(linear_layers(model.graph)[0], None, method)
    ranks = form.ranks_for_ratio(ratio)

    def share(ranks):
        return sum(np.prod(shape) for shape in form.shapes(ranks)) / np.prod(weight)

    if ranks is None:
        assert share((16,) * len(form.full)) > ratio
        return
    assert all(rank % 16 == 0 for rank in ranks)
    assert share(ranks) <= ratio
    assert share(tuple(rank + 16 for rank in ranks)) > ratio


def test_ranks_for_an_energy_hold_it():
    arrays = {"w": (RNG.standard_normal((64, 64)) * np.geomspace(1, 1e-3, 64)).astype("f")}
    model = graphs.model("y = MatMul(x, w)", arrays, "float[2, 64] x", "float[2, 64] y")
    (form,) = forms(linear_layers(model.graph)[0], None, "svd")
    s = np.linalg.svd(arrays["w"].astype(np.float64), compute_uv=False) ** 2
    (rank,) = form.ranks_for_energy(0.99)
    assert rank % 16 == 0
    assert np.sum(s[rank:]) <= 0.01 * np.sum(s) < np.sum(s[rank - 16 :])
    assert form.build((rank,)).error == pytest.approx(np.sum(s[rank:]) / np.sum(s), rel=1e-4)
