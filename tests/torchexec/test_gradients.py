"""Gradients sample by sample, against torch's own network and formulas written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from compressctl.errors import DataError, ModelError
from compressctl.torchexec.gradients import gradients, sample_gradients
from compressctl.training.label_loss import label_loss
from tests.graphs import model
from tests.training.tiny import Arrays, blobs, classes, mlp, native_mlp, normed


def test_gradients_of_the_cross_entropy_are_those_of_torch(resources):
    x, y = classes(12)
    ours, native = mlp(), native_mlp()
    source = Arrays({"x": x}, y)
    found = gradients(ours, source, resources, samples=12, loss=label_loss(ours, source, resources))
    names = ("W1", "b1", "W2", "b2")
    first, second = (dict.fromkeys(names, 0.0) for _ in range(2))
    for row, label in zip(torch.from_numpy(x), y, strict=True):
        native.zero_grad()
        torch.nn.functional.cross_entropy(native(row[None]), torch.tensor([label])).backward()
        for name, weight in zip(names, native.parameters(), strict=True):
            first[name] += (weight.grad * weight).abs().detach().numpy() / 12
            second[name] += weight.grad.square().numpy() / 12
    assert set(found) == set(names)
    for name in names:
        np.testing.assert_allclose(found[name].first, first[name], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(found[name].second, second[name], rtol=1e-4, atol=1e-9)


def test_without_labels_the_squared_gradient_is_the_diagonal_of_gauss_newton(resources):
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal((8, 3)).astype(np.float32)
    linear = model("y = MatMul(x, W)", {"W": w}, "float[N, 3] x", "float[N, 4] y")
    found = gradients(linear, Arrays({"x": x}), resources, samples=8)["W"]
    # dy_j/dW_ij = x_i, so (JᵀJ)_ii = x_i² whatever the signs
    np.testing.assert_allclose(found.second, np.repeat((x**2).mean(0)[:, None], 4, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.first, np.abs(x).mean(0)[:, None] * np.abs(w), rtol=1e-5)


def test_only_the_samples_asked_for_are_read_one_row_each(resources):
    each = list(sample_gradients(mlp(), blobs(20), resources, samples=5))
    assert len(each) == 5
    gradient, weights = each[0]
    assert {name: array.shape for name, array in gradient.items()} == {n: w.shape for n, w in weights.items()}


def test_the_seed_decides(resources):
    same = [gradients(mlp(), blobs(4), replace(resources, seed=seed), samples=4)["W1"].first for seed in (0, 0, 1)]
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.allclose(same[0], same[2])


def test_a_fixed_batch_is_one_sample(resources):
    x, y = classes(10)
    source = Arrays({"x": x}, y, batch=4)
    fixed = model("h = MatMul(x, W)", {"W": np.ones((8, 3), np.float32)}, "float[4, 8] x", "float[4, 3] h")
    loss = label_loss(fixed, source, resources)
    assert len(list(sample_gradients(fixed, source, resources, samples=10, loss=loss))) == 3


def test_batch_normalization_keeps_its_statistics(resources):
    graph = normed()
    gradients(graph, blobs(4), resources, samples=4)
    assert not graph.graph.initializers["mean"].const_value.numpy().any()


def test_what_cannot_be_used_is_said(resources):
    with pytest.raises(ModelError, match="no float weights"):
        gradients(model("y = Relu(x)", {}, "float[N, 8] x", "float[N, 8] y"), blobs(4), resources, samples=4)
    x, y = classes(4)
    loss = label_loss(mlp(), Arrays({"x": x}, y), resources)
    with pytest.raises(DataError, match="no labels"):
        gradients(mlp(), Arrays({"x": x}), resources, samples=4, loss=loss)
    with pytest.raises(DataError, match="no samples"):
        gradients(mlp(), Arrays({"x": x[:0]}), resources, samples=4)
    body = "z = Sub(x, x) h = MatMul(z, W) y = Sqrt(h)"
    broken = model(body, {"W": np.ones((8, 3), np.float32)}, "float[N, 8] x", "float[N, 3] y")
    with pytest.raises(ModelError, match="'W' is not finite"):
        gradients(broken, Arrays({"x": x}), resources, samples=4)
