"""Fake quantization against onnxruntime's two nodes and against the straight-through formula."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.measure.session import Session
from compressctl.torchexec.fake_quantize import binarize, fake_quantize
from compressctl.torchexec.module import GraphModule
from tests.graphs import model as graph

SCALES = st.floats(2**-20, 2**20, width=32)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), SCALES, st.integers(0, 255))
def test_activations_are_onnxruntimes_bit_for_bit(seed, scale, zero_point):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal(500) * scale * 100).astype(np.float32)
    x[:256] = (np.arange(256) - 128 + 0.5) * np.float32(scale)  # halves round to even
    arrays = {"s": np.float32(scale), "z": np.uint8(zero_point)}
    model = graph("q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z)", arrays, "float[500] x", "float[500] y")
    expected = Session(model, optimize=False).run({"x": x})["y"]
    ours = fake_quantize(torch.from_numpy(x), torch.tensor(arrays["s"]), -zero_point, 255 - zero_point)
    np.testing.assert_array_equal(ours, expected)
    module = GraphModule(model)
    assert list(module.weights) == ["s"]
    np.testing.assert_array_equal(module({"x": torch.from_numpy(x)})["y"].detach(), expected)


@pytest.mark.parametrize("low, high", [(-8, 7), (-2, 1), (-1, 1)])
def test_weights_of_few_bits_per_channel_are_onnxruntimes(low, high):
    rng = np.random.default_rng(1)
    arrays = {
        "w": rng.standard_normal((6, 3, 3, 3)).astype(np.float32),
        "s": rng.uniform(0.01, 0.5, 6).astype(np.float32),
        "z": np.zeros(6, np.int8),
        "lo": np.int8(low),
        "hi": np.int8(high),
    }
    body = """q = QuantizeLinear<axis = 0>(w, s, z)  c = Clip(q, lo, hi)  d = DequantizeLinear<axis = 0>(c, s, z)
              y = Conv(x, d)"""
    model = graph(body, arrays, "float[1, 3, 8, 8] x", "float[1, 6, 6, 6] y")
    module = GraphModule(model, extra_outputs=["d"])
    assert set(module.weights) == {"w", "s"}
    x = rng.standard_normal((1, 3, 8, 8)).astype(np.float32)
    proto_model = model.clone()
    proto_model.graph.outputs.append(next(n for n in proto_model.graph if n.op_type == "DequantizeLinear").outputs[0])
    expected = Session(proto_model, optimize=False).run({"x": x})
    ours = module({"x": torch.from_numpy(x)})
    np.testing.assert_array_equal(ours["d"].detach(), expected["d"])
    np.testing.assert_allclose(ours["y"].detach(), expected["y"], rtol=1e-5, atol=1e-5)
    ours["y"].sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in module.weights.values())


def test_integers_that_are_read_otherwise_too_are_computed():
    body = """q = QuantizeLinear(x, s, z)  a = DequantizeLinear(q, s, z)  b = DequantizeLinear(q, s, other)
              c = Clip(q, lo, hi)  d = DequantizeLinear(c, s, other)  ab = Add(a, b)  y = Add(ab, d)"""
    arrays = {"s": np.float32(0.1), "z": np.uint8(10), "other": np.uint8(20), "lo": np.uint8(5), "hi": np.uint8(40)}
    model = graph(body, arrays, "float[4] x", "float[4] y")
    x = np.array([0, 0.1, 0.2, 3], np.float32)
    expected = Session(model, optimize=False).run({"x": x})["y"]
    np.testing.assert_allclose(GraphModule(model)({"x": torch.from_numpy(x)})["y"].detach(), expected, rtol=1e-6)


def test_signs_are_onnxruntimes():
    rng = np.random.default_rng(2)
    arrays = {
        "w": rng.standard_normal((4, 5)).astype(np.float32),
        "s": rng.uniform(0.1, 1, 5).astype(np.float32),
        "zero": np.float32(0),
        "one": np.int8(1),
        "minus": np.int8(-1),
        "z": np.zeros(5, np.int8),
    }
    body = """p = GreaterOrEqual(w, zero)  q = Where(p, one, minus)  d = DequantizeLinear<axis = 1>(q, s, z)
              y = MatMul(x, d)"""
    model = graph(body, arrays, "float[N, 4] x", "float[N, 5] y")
    module = GraphModule(model)
    assert set(module.weights) == {"w", "s"}
    x = rng.standard_normal((3, 4)).astype(np.float32)
    ours = module({"x": torch.from_numpy(x)})["y"]
    np.testing.assert_allclose(ours.detach(), Session(model, optimize=False).run({"x": x})["y"], rtol=1e-5)
    ours.sum().backward()
    assert module.weights["w"].grad is not None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(-100, 155), (-8, 7), (-1, 1)]), st.booleans())
def test_gradients_are_those_of_the_straight_through_formula(seed, grid, per_channel):
    low, high = grid
    generator = torch.Generator().manual_seed(seed)
    x = (torch.randn(4, 6, generator=generator, dtype=torch.float64) * 3 * (high - low) / 4).requires_grad_()
    scale = (torch.rand(4 if per_channel else (), generator=generator, dtype=torch.float64) + 0.5).requires_grad_()
    upstream = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    fake_quantize(x, scale, low, high, axis=0).backward(upstream)

    x2, s2 = x.detach().clone().requires_grad_(), scale.detach().clone().requires_grad_()
    s = s2.reshape(-1, 1) if per_channel else s2
    ratio = x2 / s
    integers = (ratio + (ratio.round() - ratio).detach()).clamp(low, high)
    (integers * s).backward(upstream)
    torch.testing.assert_close(x.grad, x2.grad)
    numbers = 6 if per_channel else 24
    torch.testing.assert_close(scale.grad, s2.grad / (numbers * max(high, -low)) ** 0.5)  # LSQ, section 2.2


def test_gradients_of_signs():
    x = torch.tensor([0.2, -0.3, 2.0, -3.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    y = binarize(x, scale)
    assert y.tolist() == [0.5, -0.5, 0.5, -0.5]
    y.backward(torch.tensor([1.0, 2.0, 3.0, 5.0]))
    assert x.grad.tolist() == [1.0, 2.0, 0.0, 0.0]
    assert scale.grad.item() == pytest.approx((1 - 2 + 3 - 5) / 2)
