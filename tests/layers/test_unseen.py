"""Layers that calibration samples tell nothing of are treated as without samples, and named; other layers are not."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from compressctl.factorization.search import input_shapes, observe
from compressctl.factorization.units import units
from compressctl.layers.layerwise import Fit, Pair, fit_layers
from compressctl.layers.linear import linear_layers
from compressctl.layers.unseen import REASON, picked
from compressctl.measure.session import Session
from compressctl.model.graph import set_constant
from compressctl.numerics.awq import awq_scales
from compressctl.passes import cluster, prune, quantize, quantize_weights, sparsify
from compressctl.passes.base import Outcome
from tests import graphs
from tests.passes import apply
from tests.training.tiny import Arrays

random = graphs.Random(5)
BODY = """a = MatMul(x, w0) e = Slice(a, from, to, axis) rare = MatMul(e, w1)
    g = Mul(a, gate) shut = MatMul(g, w2) usual = MatMul(a, w3)"""
UNREACHED = ["MatMul_2", "MatMul_4"]


def branches() -> ir.Model:
    """One layer reads what comes after the first 8 rows, one what a gate lets through, one reads all."""
    weights = {f"w{i}": random(64, 64) / 8 for i in range(4)}
    places = {"from": np.array([8]), "to": np.array([1000]), "axis": np.array([1])}
    return graphs.model(
        BODY,
        weights | places,
        "float[N, T, 64] x, float[N, 1, 1] gate",
        "float[N, R, 64] rare, float[N, T, 64] shut, float[N, T, 64] usual",
    )


SHUT = {"x": random(48, 8, 64), "gate": np.zeros((48, 1, 1), np.float32)}
OPEN = {"x": random(4, 16, 64), "gate": np.ones((4, 1, 1), np.float32)}


def decibels(model: ir.Model, result: ir.Model, feeds: dict) -> dict[str, float]:
    """Return the SQNR of each output."""
    before, after = (Session(one, threads=1).run(feeds) for one in (model, result))
    return {
        name: 10 * np.log10(np.square(b).sum() / max(np.square(b - after[name]).sum(), 1e-30))
        for name, b in before.items()
    }


def warned(outcome: Outcome) -> set[str]:
    return {note.node or "" for note in outcome.notes if note.kind == "warning" and REASON in note.text}


@pytest.mark.parametrize(
    ("which", "with_samples", "without"),
    [
        (quantize_weights, {"scheme": "int4"}, {"scheme": "int4"}),
        (quantize_weights, {"scheme": "ternary"}, {"scheme": "ternary"}),
        (sparsify, {"ratio": 0.5}, {"ratio": 0.5}),
        (sparsify, {"nm": "2:4"}, {"nm": "2:4"}),
        (cluster, {"clusters": 16}, {"clusters": 16}),
        (prune, {"ratio": 0.25, "importance": "l2"}, {"ratio": 0.25, "importance": "l2"}),
        (quantize, {"scheme": "int8", "calibration_method": "minmax"}, {"scheme": "int8-dynamic"}),
        (quantize, {"scheme": "int8", "calibration_method": "entropy"}, {"scheme": "int8-dynamic"}),
        (quantize, {"scheme": "w4a8", "rounding": "gptq"}, {"scheme": "int8-dynamic"}),
        (quantize, {"scheme": "w4a8", "rounding": "adaround", "adaround_steps": 5}, {"scheme": "int8-dynamic"}),
    ],
)
def test_layers_that_no_sample_reaches_are_as_good_as_without_samples(which, with_samples, without, tmp_path):
    model = branches()
    fitted = apply(which, model, tmp_path, Arrays(SHUT), **with_samples)
    plain = apply(which, model, tmp_path, **without)
    found, reference = (decibels(model, outcome.model, OPEN) for outcome in (fitted, plain))
    assert found["rare"] > reference["rare"] - 1 and found["shut"] > reference["shut"] - 1
    assert warned(fitted) == set(UNREACHED) and not warned(plain)


@pytest.mark.parametrize("importance", ["activation", "taylor"])
@pytest.mark.parametrize("which", [sparsify, prune])
def test_importance_without_evidence(which, importance, tmp_path):
    """Units and weights that no sample shows are not the first to go."""
    model = branches()
    options = {"ratio": 0.5, "importance": importance, "reconstruct": False}
    outcome = apply(which, model, tmp_path, Arrays(SHUT), **options)
    found = decibels(model, outcome.model, OPEN)
    assert min(found["rare"], found["shut"]) > found["usual"] - 3


def test_an_addend_without_a_range_stays_in_float(tmp_path):
    """An Add of integers whose one side was zero on all samples would round that side away."""
    body = """h = Conv(x, w0) r = Relu(h) t = Mul(r, gate) b = Conv(t, w1) c = Conv(r, w2) s = Add(b, c)
        p = Relu(s) y = Conv(p, w3)"""
    weights = {f"w{i}": random(16, 16, 1, 1) / 4 for i in range(4)}
    model = graphs.model(body, weights, "float[N, 16, 6, 6] x, float[N, 1, 1, 1] gate", "float[N, 16, 6, 6] y")
    shut = {"x": random(32, 16, 6, 6), "gate": np.zeros((32, 1, 1, 1), np.float32)}
    outcome = apply(quantize, model, tmp_path, Arrays(shut), scheme="int8", calibration_method="minmax")
    assert warned(outcome) == {"Conv_3"}
    few = {"x": random(32, 16, 6, 6), "gate": np.full((32, 1, 1, 1), 0.3, np.float32)}
    assert decibels(model, outcome.model, few)["y"] > 25


def test_inputs_that_no_sample_shows_keep_their_precision():
    """AWQ scales down what is small, but does not know what it never saw."""
    weight, moments = random(64, 16), np.diag(np.repeat([0.0, 1.0, 100.0, 0.0], 4))

    def rounded(matrix):
        step = np.abs(matrix).max(axis=1, keepdims=True) / 7
        return np.rint(matrix / step) * step

    scales, gain = awq_scales([(weight, rounded)], moments)
    assert gain < 1
    unseen = np.diag(moments) == 0
    error, plain = (rounded(weight * s) / s - weight for s in (scales, 1.0))
    assert np.square(error[:, unseen]).sum() < 2 * np.square(plain[:, unseen]).sum()


EXPERTS = """h = MatMul(x, w0) l = MatMul(h, w1) p = ArgMax<axis = 1, keepdims = 0>(l) m = Equal(p, one)
    n = NonZero(m) i = Transpose<perm = [1, 0]>(n) g = GatherND(h, i) u = MatMul(g, w2) d = Relu(u) s = MatMul(d, w3)
    z = ScatterND(h, i, s) y = MatMul(z, w4)"""


def experts() -> ir.Model:
    """Tokens of which a router sends about a third to an expert of two layers."""
    shapes = {"w0": (32, 32), "w1": (32, 3), "w2": (32, 32), "w3": (32, 32), "w4": (32, 32)}
    weights = {name: random(*shape) / np.float32(np.sqrt(shape[0])) for name, shape in shapes.items()}
    return graphs.model(EXPERTS, weights | {"one": np.int64(1)}, "float[N, 32] x", "float[N, 32] y, float[K, 32] s")


@pytest.mark.parametrize("kind", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_rows_picked_by_the_model_itself(kind):
    """What stands back in its place is not picked any more."""
    model = experts()
    for value in [value for name, value in model.graph.initializers.items() if name != "one"]:
        set_constant(value, value.const_value.numpy().astype(kind))
    assert {layer.input.name for layer in linear_layers(model.graph) if layer.input in picked(model.graph)} == {
        "g",
        "d",
    }


def test_experts_whose_tokens_change_with_the_weights_before_them(resources):
    """A router that changed sends other tokens: the expert aims at what its old weight makes of those it gets."""
    original, changed = experts(), experts()
    for name, value in original.graph.initializers.items():
        changed.graph.initializers[name].const_value = value.const_value
    set_constant(changed.graph.initializers["w1"], random(32, 3))
    olds = {layer.name: layer for layer in linear_layers(original.graph)}
    pairs = [Pair(olds[new.name], new, np.arange(new.shape[1])) for new in linear_layers(changed.graph)]
    fits: dict[str, Fit] = {}

    def solve(layer, group, fit):
        fits[layer.weight.name] = fit
        return fit.weight

    fit_layers(original, changed, pairs, Arrays({"x": random(200, 32)}), solve, resources)
    aims = {pair.old.weight.name: pair.old.matrix()[0] @ fits[pair.old.weight.name].moments for pair in pairs}
    alike = {name for name, aim in aims.items() if np.allclose(fits[name].target, aim, rtol=1e-3, atol=1e-4)}
    assert alike == {"w0", "w1", "w2", "w3"}, "w4 reads all tokens, and makes up for what the expert changed"


def test_low_rank_goes_by_the_weight_alone(resources):
    model = branches()
    found, _ = units(model.graph, lambda node: True)
    seen = observe(model, found, Arrays(SHUT), resources, samples=48)
    assert [unit.name for unit, moments in zip(found, seen, strict=True) if moments is None] == UNREACHED
    shapes = input_shapes(model, found, {name: array[:1] for name, array in SHUT.items()}, resources)
    assert min(min(shape) for shape in shapes) == 1, "what is empty on the samples still costs something elsewhere"
