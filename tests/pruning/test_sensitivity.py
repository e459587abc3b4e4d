"""Sensitivity curves against runs by hand, the greedy order against all choices, and ratios that keep a budget."""

import itertools
from functools import partial

import numpy as np
import pytest

from compressctl.errors import UsageError
from compressctl.measure.accuracy import evaluate
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.numerics.sparsity import share
from compressctl.passes import sparsify
from compressctl.pruning.search import Steps
from compressctl.pruning.sensitivity import Curve, Judge, Judged
from tests import graphs
from tests.passes import apply
from tests.training.tiny import Arrays, blobs, classes, mlp

run = partial(apply, sparsify)
RNG = np.random.default_rng(6)


def _curve(name: str, *noises: float) -> Curve:
    ratios = tuple((index + 1) / 4 for index in range(len(noises)))
    return Curve(name, ratios, tuple(Judged(noise, None) for noise in noises))


def test_judge_measures_noise_and_metric(resources):
    data, reference, other = blobs(), mlp(0), mlp(1)
    judge = Judge(reference, data, parse_metric("top1"), resources, samples=96)
    x, labels = data._feeds["x"][:96], data._labels[:96]
    y, z = (Session(m, threads=1).run({"x": x})["y"].astype(np.float64) for m in (reference, other))
    found = judge(other)
    assert found.noise == pytest.approx(np.square(z - y).sum() / np.square(y).sum())
    assert found.score == pytest.approx(np.mean(z.argmax(1) == labels))
    assert judge.reference == Judged(0.0, pytest.approx(np.mean(y.argmax(1) == labels)))


def test_the_table_is_what_pruning_a_layer_alone_does(tmp_path):
    w, v = (RNG.standard_normal(shape).astype(np.float32) for shape in ((6, 8), (8, 3)))
    body = "h = MatMul(x, w) a = Relu(h) y = MatMul(a, v)"
    model = graphs.model(body, {"w": w, "v": v}, "float[N, 6] x", "float[N, 3] y")
    x = RNG.standard_normal((32, 6)).astype(np.float32)
    out = run(model, tmp_path, Arrays({"x": x}), ratio=0.5, sensitivity=True, reconstruct=False)
    table = out.facts["sensitivity"]
    y = np.maximum(x @ w, 0) @ v
    for index, ratio in enumerate(table["ratios"]):
        less = np.maximum(x @ np.where(share(np.abs(w), ratio), 0, w), 0) @ v
        noise = np.square(less - y).sum() / np.square(y).sum()
        assert table["layers"][0]["noise"][index] == pytest.approx(noise, rel=1e-4)
    assert table["samples"] == 32 and table["metric"] is None and "score" not in table["layers"][0]


def test_convex_curves_are_followed_to_the_best_of_all_choices():
    """The greedy order gives, at each of its steps, the least noise of all choices that save as much."""
    curves = [_curve("a", 0.01, 0.05, 0.2), _curve("b", 0.02, 0.04, 0.3), _curve("c", 0.1, 0.3, 0.7)]
    sizes = {"a": 10.0, "b": 20.0, "c": 40.0}
    at = {c.layer: dict(zip((0.0, *c.ratios), (0.0, *(j.noise for j in c.judged)), strict=True)) for c in curves}
    choices = [dict(zip("abc", ratios, strict=True)) for ratios in itertools.product(*(at[name] for name in "abc"))]
    steps = Steps(curves, sizes)
    assert len(steps) == 9

    def noise(ratios):
        return sum(at[name][ratio] for name, ratio in ratios.items())

    def saved(ratios):
        return sum(sizes[name] * ratio for name, ratio in ratios.items())

    for count in range(len(steps) + 1):
        found = steps.first(count)
        as_much = [choice for choice in choices if saved(choice) >= saved(found)]
        assert noise(found) == pytest.approx(min(map(noise, as_much)))


def test_a_dip_is_no_gain_and_a_cliff_is_passed_at_once():
    steps = Steps([_curve("dip", 0.1, 0.05, 0.1), _curve("cliff", 0.9, 0.9, 0.9)], {"dip": 1.0, "cliff": 1.0})
    assert [steps.first(count) for count in range(len(steps) + 1)] == [{}, {"dip": 0.75}, {"dip": 0.75, "cliff": 0.75}]


@pytest.mark.parametrize("most", range(6))
def test_the_longest_prefix_that_holds(most):
    steps = Steps([_curve("a", 0.1, 0.2, 0.4, 0.8), _curve("b", 100.0)], {"a": 1.0, "b": 1.0})
    calls = []

    def holds(ratios):
        calls.append(ratios)
        return 4 * ratios.get("a", 0) + 4 * ratios.get("b", 0) <= most

    assert steps.longest(holds) == steps.first(most)
    assert len(calls) <= 3


@pytest.mark.parametrize("calibrated", [False, True])
def test_automatic_ratios_keep_the_budget(tmp_path, calibrated):
    model, metric = mlp(2, width=64), parse_metric("top1")
    x = classes(600)[0]
    labels = Session(model, threads=1).run({"x": x})["y"].argmax(1)  # so that the model as it is scores 1
    data = Arrays({"x": x}, labels)
    samples = Arrays({"x": classes(300, seed=1)[0]}) if calibrated else None
    given = {"evaluation": data, "metric": metric, "max_accuracy_drop": 0.05}

    def right(m):
        return evaluate(Session(m, threads=1), data, metric).value

    out = run(model, tmp_path, samples, ratio="auto", **given)
    zeros, total = (sum(row[key] for row in out.facts["layers"]) for key in ("zeros", "weights"))
    assert right(out.model) >= 0.95
    evenly = run(model, tmp_path, samples, ratio=zeros / total + 0.15, scope="layer", **given)
    assert zeros / total > (0.3 if calibrated else 0.15)
    assert right(evenly.model) < 0.95  # not by far could more be zero
    table = out.facts["sensitivity"]
    assert table["metric"] == "top1" and table["unpruned"] == 1 and len(table["layers"][0]["score"]) == 8


def test_automatic_ratios_need_a_budget(tmp_path):
    with pytest.raises(UsageError, match="--max-accuracy-drop"):
        run(mlp(), tmp_path, blobs(), ratio="auto")
    with pytest.raises(UsageError, match="--data"):
        run(mlp(), tmp_path, ratio=0.5, sensitivity=True)
