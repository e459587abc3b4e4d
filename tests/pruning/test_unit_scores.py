"""Scores of units, against loops over channels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from compressctl.data.first import First
from compressctl.pruning.activations import mean_magnitudes
from compressctl.pruning.scores import Evidence, score
from compressctl.structure.groups import find_groups
from compressctl.training.label_loss import label_loss
from tests.graphs import model
from tests.pruning.units import array, network
from tests.training.tiny import Arrays

RNG = np.random.default_rng(1)
X = RNG.standard_normal((10, 2, 6, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 10)


@pytest.fixture
def evidence(resources):
    def _evidence(graph, labels=None):
        source = Arrays({"x": X}, labels)
        loss = None if labels is None else label_loss(graph, source, resources)
        return Evidence(source, resources, loss)

    return _evidence


def scored(graph, importance, **given):
    groups = [group for group in find_groups(graph) if not group.fixed.all()]
    assert [(group.name, group.size) for group in groups] == [("Conv_0", 32), ("Conv_2", 16)]
    return score(graph, groups, importance, **given)


@pytest.mark.parametrize("importance, power", [("l1", 1), ("l2", 2)])
def test_norms_are_means_over_all_that_makes_a_channel(importance, power):
    graph = network()
    found = scored(graph, importance)
    for name, makers in (("Conv_0", ["W1"]), ("Conv_2", ["W2", "W3"])):
        for unit, got in enumerate(found[name]):
            weights = np.concatenate([array(graph, maker)[unit].ravel() for maker in makers]).astype(np.float64)
            assert_allclose(got, np.mean(np.abs(weights) ** power) ** (1 / power))


def test_geometric_median_sums_distances_between_filters():
    graph = network()
    found = scored(graph, "geometric-median")["Conv_2"]
    filters = np.concatenate([array(graph, name).reshape(16, -1) for name in ("W2", "W3")], axis=1).astype(np.float64)
    assert_allclose(found, [sum(np.linalg.norm(one - other) for other in filters) for one in filters], rtol=1e-6)


def test_activation_is_the_mean_magnitude_where_a_channel_is_read(evidence):
    graph = network()
    found = scored(graph, "activation", evidence=evidence(graph))
    w1, b1 = (torch.from_numpy(array(graph, name).copy()) for name in ("W1", "B1"))
    read = F.relu(F.conv2d(torch.from_numpy(X), w1, b1, padding=1)).abs().mean(dim=(0, 2, 3))
    assert_allclose(found["Conv_0"], read.numpy(), rtol=1e-4)


def _gradients(graph, labels):
    """Yield for each sample g * w of the weights, by torch."""
    weights = {name: torch.from_numpy(array(graph, name).copy()).requires_grad_() for name in ("W1", "B1", "W2", "W3")}
    for row, label in zip(torch.from_numpy(X), labels, strict=True):
        hidden = F.conv2d(
            F.relu(F.conv2d(row[None], weights["W1"], weights["B1"], padding=1)), weights["W2"], padding=1
        )
        joined = F.relu(hidden + F.conv2d(row[None], weights["W3"]))
        logits = joined.mean(dim=(2, 3)) @ torch.from_numpy(array(graph, "W4").copy()).T
        found = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([label])), list(weights.values()))
        yield {n: (g * w).detach().numpy().astype(np.float64) for (n, w), g in zip(weights.items(), found, strict=True)}


@pytest.mark.parametrize("importance", ["taylor", "hessian"])
def test_gradients_of_all_that_makes_a_channel_add_up(evidence, importance):
    graph = network()
    found = scored(graph, importance, evidence=evidence(graph, Y))
    for name, parts in (("Conv_0", ("W1", "B1")), ("Conv_2", ("W2", "W3"))):
        expected = 0.0
        for products in _gradients(graph, Y):
            rows = np.concatenate([products[part].reshape(len(products[part]), -1) for part in parts], axis=1)
            expected = expected + (rows.sum(1) ** 2 if importance == "taylor" else (rows**2).sum(1) / 2) / len(X)
        assert_allclose(found[name], expected, rtol=1e-3, atol=1e-9)


def test_random_scores_come_from_the_seed():
    graph = network()
    one, same, other = (scored(graph, "random", seed=seed) for seed in (0, 0, 1))
    assert_allclose(one["Conv_0"], same["Conv_0"])
    assert not np.allclose(one["Conv_0"], other["Conv_0"])
    assert not np.allclose(one["Conv_0"][:16], one["Conv_2"])


@pytest.mark.parametrize("opset", [13, 18])
def test_magnitudes_are_means_over_rows_and_positions(opset, resources):
    graph = model("y = Relu(x)", {}, "float[N, 2, 6, 6] x", "float[N, 2, 6, 6] y", opset)
    found = mean_magnitudes(graph, {"x": 3, "y": 1}, First(Arrays({"x": X}), 9), resources)
    assert_allclose(found["x"], np.abs(X[:9]).mean(axis=(0, 1, 2)), rtol=1e-5)
    assert_allclose(found["y"], np.maximum(X[:9], 0).mean(axis=(0, 2, 3)), rtol=1e-5)
