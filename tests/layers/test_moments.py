"""Moments against rows that loops cut out of the inputs."""

import numpy as np
import pytest

from compressctl.errors import DataError
from compressctl.layers import moments as module
from compressctl.layers.linear import linear_layers
from compressctl.layers.moments import input_statistics
from tests import graphs
from tests.layers.reading import Rows, conv_rows

RNG = np.random.default_rng(11)


def observed(model, inputs, resources, samples=100, **options):
    found = input_statistics(
        model, linear_layers(model.graph), Rows(model, inputs), resources, samples=samples, **options
    )
    return {layer.name: moments.second for layer, moments in found}


def expected(rows):
    """[groups, inputs, inputs] from [groups, rows, inputs]."""
    return np.einsum("gri,grj->gij", rows, rows) / rows.shape[1]


CONVOLUTIONS = {
    "1-d": ("", (4, 3, 3), (3, 9), {}),
    "2-d": (
        "<strides = [2, 1], dilations = [1, 2], pads = [1, 0, 2, 3]>",
        (4, 3, 3, 2),
        (3, 7, 6),
        {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 2, 3]},
    ),
    "3-d, grouped": (
        "<group = 2, pads = [1, 0, 1, 1, 0, 1]>",
        (4, 2, 3, 1, 2),
        (4, 4, 3, 3),
        {"groups": 2, "pads": [1, 0, 1, 1, 0, 1]},
    ),
    "depthwise, same upper": (
        '<group = 3, auto_pad = "SAME_UPPER", strides = [2, 2]>',
        (3, 1, 3, 3),
        (3, 6, 5),
        {"groups": 3, "strides": [2, 2], "pads": [0, 1, 1, 1]},
    ),
    "same lower": ('<auto_pad = "SAME_LOWER">', (2, 3, 2, 4), (3, 5, 5), {"pads": [1, 2, 0, 1]}),
    "valid": ('<auto_pad = "VALID">', (2, 3, 2, 2), (3, 4, 4), {}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, resources):
    attributes, weight, shape, geometry = CONVOLUTIONS[name]
    w = RNG.standard_normal(weight).astype(np.float32)
    dims = ", ".join(map(str, shape))
    model = graphs.model(f"r = Relu(x) y = Conv{attributes}(r, w)", {"w": w}, f"float[N, {dims}] x", "float y")
    samples = RNG.standard_normal((11, *shape)).astype(np.float32)
    (found,) = observed(model, samples, resources).values()
    rows = conv_rows(np.maximum(samples, 0), weight[2:], **geometry)
    np.testing.assert_allclose(found, expected(rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "weight", "rows"),
    [
        ("y = MatMul(x, w)", (6, 4), lambda x: x.reshape(1, -1, 6)),
        ("y = MatMul(w, x)", (4, 5), lambda x: x.swapaxes(1, 2).reshape(1, -1, 5)),
        ("f = Flatten(x) y = Gemm<alpha = 0.5>(f, w)", (30, 4), lambda x: x.reshape(1, -1, 30)),
        ("f = Flatten(x) y = Gemm<transB = 1>(f, w)", (4, 30), lambda x: x.reshape(1, -1, 30)),
        ("y = ConvTranspose<strides = [2]>(x, w)", (5, 2, 3), lambda x: x.swapaxes(1, 2).reshape(1, -1, 5)),
        (
            "y = ConvTranspose<group = 5>(x, w)",
            (5, 2, 3),
            lambda x: x.swapaxes(0, 1).reshape(5, -1, 1),
        ),
    ],
)
def test_other_operators(body, weight, rows, resources):
    w = RNG.standard_normal(weight).astype(np.float32)
    model = graphs.model(body, {"w": w}, "float[N, 5, 6] x", "float y")
    samples = RNG.standard_normal((9, 5, 6)).astype(np.float32)
    (found,) = observed(model, samples, resources).values()
    np.testing.assert_allclose(found, expected(rows(samples.astype(np.float64))), rtol=1e-5, atol=1e-6)


def test_gemm_with_its_input_transposed(resources):
    w = RNG.standard_normal((9, 4)).astype(np.float32)
    model = graphs.model("y = Gemm<transA = 1>(x, w)", {"w": w}, "float[9, K] x", "float y")
    samples = RNG.standard_normal((9, 3)).astype(np.float32)
    (found,) = observed(model, samples, resources).values()
    np.testing.assert_allclose(found, expected(samples.T[None]), rtol=1e-5, atol=1e-6)


MLP = "a = MatMul(x, q) b = MatMul(x, k) s = Add(a, b) r = Relu(s) y = MatMul(r, v)"
WEIGHTS = {name: RNG.standard_normal((6, 6)).astype(np.float32) for name in "qkv"}


@pytest.mark.parametrize("memory", [1, 2 * 8 * 36, 2**30])
def test_little_memory_means_more_runs_and_the_same_moments(memory, resources):
    model = graphs.model(MLP, WEIGHTS, "float[N, 6] x", "float[N, 6] y")
    samples = RNG.standard_normal((9, 6)).astype(np.float32)
    found = observed(model, samples, resources, memory=memory)
    assert list(found) == ["MatMul_0", "MatMul_1", "MatMul_4"]
    assert found["MatMul_0"] is found["MatMul_1"]
    np.testing.assert_allclose(found["MatMul_0"], expected(samples[None]), rtol=1e-5, atol=1e-6)
    hidden = np.maximum(samples @ (WEIGHTS["q"] + WEIGHTS["k"]), 0)
    np.testing.assert_allclose(found["MatMul_4"], expected(hidden[None]), rtol=1e-4)


def test_means_of_the_rows(resources):
    w = RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)
    model = graphs.model("y = Conv<group = 2, pads = [1, 1, 1, 1]>(x, w)", {"w": w}, "float[N, 4, 5, 5] x", "float y")
    samples = RNG.standard_normal((5, 4, 5, 5)).astype(np.float32) + 1
    layers = linear_layers(model.graph)
    ((_, found),) = input_statistics(model, layers, Rows(model, samples), resources, samples=9)
    rows = conv_rows(samples, (3, 3), groups=2, pads=[1, 1, 1, 1])
    np.testing.assert_allclose(found.mean, rows.mean(axis=1), rtol=1e-5)
    assert found.rows == rows.shape[1]
    np.testing.assert_allclose(found.second, expected(rows), rtol=1e-5, atol=1e-6)


def test_samples_bound_what_is_read(resources):
    model = graphs.model(MLP, WEIGHTS, "float[N, 6] x", "float[N, 6] y")
    samples = RNG.standard_normal((9, 6)).astype(np.float32)
    found = observed(model, samples, resources, samples=5)
    np.testing.assert_allclose(found["MatMul_0"], expected(samples[None, :5]), rtol=1e-5, atol=1e-6)


def test_many_rows_are_sampled_evenly_and_repeatably(resources, monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 2000)
    monkeypatch.setattr(module, "_CHUNK", 512)
    w = RNG.standard_normal((2, 3, 3, 3)).astype(np.float32)
    model = graphs.model("y = Conv(x, w)", {"w": w}, "float[N, 3, 30, 30] x", "float y")
    samples = RNG.standard_normal((20, 3, 30, 30)).astype(np.float32)
    (found,) = observed(model, samples, resources).values()
    (again,) = observed(model, samples, resources).values()
    np.testing.assert_array_equal(found, again)
    full = expected(conv_rows(samples, (3, 3)))
    assert np.abs(found - full).max() < 6 / np.sqrt(2000)  # of independent numbers of variance 1


def test_half_precision_is_summed_in_float32(resources):
    arrays = {"w": RNG.standard_normal((6, 4)).astype(np.float16)}
    model = graphs.model("r = Relu(x) y = MatMul(r, w)", arrays, "float16[N, 6] x", "float16[N, 4] y")
    samples = (300 * RNG.standard_normal((9, 6))).astype(np.float16)
    (found,) = observed(model, samples, resources).values()
    rows = np.maximum(samples.astype(np.float64), 0)[None]
    np.testing.assert_allclose(found, expected(rows), rtol=1e-5, atol=1e-2)


def test_overflow_names_the_layer(resources):
    model = graphs.model(MLP, WEIGHTS, "float[N, 6] x", "float[N, 6] y")
    samples = np.full((2, 6), 1e25, np.float32)
    with pytest.raises(DataError, match=r"arrays: the layer 'MatMul_0' reads NaN, infinity or values near it"):
        observed(model, samples, resources)
