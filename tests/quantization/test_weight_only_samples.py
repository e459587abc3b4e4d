"""GPTQ and AWQ through whole models: outputs come closer than by rounding to nearest."""

import numpy as np
import pytest

from compressctl.errors import UsageError
from compressctl.model.graph import constant
from tests import graphs
from tests.layers.reading import Rows
from tests.quantization import reference
from tests.quantization.weight_only import compress, texts, weights

CONV = "c = Conv<pads = [1, 1, 1, 1]>(x, k, kb) r = Relu(c) d = Conv<group = 2>(r, l, lb) y = Relu(d)"
CONV_ARRAYS = {
    "k": weights(16, 8, 3, 3), "kb": weights(16, seed=1), "l": weights(32, 8, 3, 3, seed=2), "lb": weights(32, seed=3),
}  # fmt: skip
MLP = "a = MatMul(x, u) b = Add(a, ub) c = Relu(b) y = Gemm<transB = 1>(c, v)"
MLP_ARRAYS = {"u": weights(64, 96), "ub": weights(96, seed=1), "v": weights(64, 96, seed=2)}


def conv():
    return graphs.model(CONV, CONV_ARRAYS, "float[n, 8, 6, 6] x", "float[n, 32, 4, 4] y", 13)


def mlp():
    return graphs.model(MLP, MLP_ARRAYS, "float[n, 64] x", "float[n, 64] y", 13)


def correlated(*shape: int, seed: int) -> np.ndarray:
    mix = np.random.default_rng(9).standard_normal((shape[1], shape[1])) * np.exp(weights(shape[1], seed=8))
    return np.einsum("nc...,cd->nd...", weights(*shape, seed=seed), mix).astype(np.float32)


MODELS = {"conv": (conv, (8, 6, 6)), "mlp": (mlp, (64,))}


@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"act_order": False}, {"group_size": 16}], ids=str)
@pytest.mark.parametrize("scheme", ["int4", "int2", "int1"])
@pytest.mark.parametrize("name", MODELS)
def test_gptq_keeps_outputs_better_than_rounding_to_nearest(tmp_path, name, scheme, options):
    build, shape = MODELS[name]
    samples, unseen = correlated(400, *shape, seed=4), correlated(100, *shape, seed=5)
    (exact,) = reference.run(build(), {"x": unseen})
    errors = {}
    for rounding in ("nearest", "gptq"):
        model = build()
        source = Rows(model, samples)
        kept = {key: value for key, value in options.items() if key != "act_order" or rounding == "gptq"}
        outcome = compress(model, scheme, tmp_path, source, rounding=rounding, **kept)
        assert outcome.facts["rounding"] == rounding
        (found,) = reference.run(model, {"x": unseen})
        errors[rounding] = np.square(found - exact).sum() / np.square(exact).sum()
        (folded,) = reference.run(model, {"x": unseen}, optimize=True)
        np.testing.assert_allclose(folded, found, rtol=1e-4, atol=1e-4 * np.abs(found).max())
    assert errors["gptq"] < 0.8 * errors["nearest"]


def test_gptq_tells_each_layers_error_on_the_samples(tmp_path):
    model, samples = mlp(), correlated(400, 64, seed=4)
    rows = compress(model, "int3", tmp_path, Rows(model, samples)).facts["weights"]
    assert [row["weight"] for row in rows] == ["u", "v"]
    found, exact = (reference.run(m, {"x": samples})[0] for m in (model, mlp()))
    expected = np.square(found - exact).sum() / np.square(exact).sum()  # the last layer has no bias
    np.testing.assert_allclose(rows[1]["output_error"], expected, rtol=1e-3)


def test_gptq_does_not_depend_on_what_was_run_before(tmp_path):
    samples = correlated(100, 64, seed=4)
    stored = []
    for _ in range(2):
        model = mlp()
        compress(model, "int3", tmp_path, Rows(model, samples))
        stored.append({name: constant(value).tobytes() for name, value in model.graph.initializers.items()})
    assert stored[0] == stored[1]


def test_layers_that_gptq_cannot_fit_are_rounded_to_nearest_and_named(tmp_path):
    body = "a = MatMul(x, w) b = Relu(a) [again] y = MatMul(b, w)"
    model = graphs.model(body, {"w": weights(64, 64)}, "float[n, 64] x", "float[n, 64] y")
    outcome = compress(model, "int4", tmp_path, Rows(model, correlated(50, 64, seed=1)))
    assert "rounded to nearest, not by gptq: other nodes use its weight, too" in texts(outcome)
    assert "output_error" not in outcome.facts["weights"][0]


@pytest.mark.parametrize("rounding", ["gptq", "awq"])
def test_samples_that_are_missing_are_asked_for(tmp_path, rounding):
    with pytest.raises(UsageError, match=rf"rounding {rounding} needs calibration samples \(add --calibrate DATA\)"):
        compress(mlp(), "int4", tmp_path, rounding=rounding)


def normalized():
    body = "h = LayerNormalization(x, g, b) c = MatMul(h, u) e = MatMul(h, v) y = Add(c, e)"
    arrays = {"g": np.exp(2 * weights(64)), "b": weights(64, seed=1), "u": weights(64, 96, seed=2)}
    arrays["v"] = weights(64, 96, seed=3)
    return graphs.model(body, arrays, "float[n, 64] x", "float[n, 96] y")


def test_awq_scales_what_a_normalization_gives(tmp_path):
    samples, unseen = weights(200, 64, seed=4), weights(50, 64, seed=5)
    (exact,) = reference.run(normalized(), {"x": unseen})
    errors = {}
    for rounding in ("nearest", "awq"):
        model = normalized()
        outcome = compress(model, "int3", tmp_path, Rows(model, samples), rounding=rounding, group_size="channel")
        errors[rounding] = np.square(reference.run(model, {"x": unseen})[0] - exact).sum()
    assert "done h: scaled for its readers" in texts(outcome)
    assert errors["awq"] < 0.8 * errors["nearest"]


def test_awq_says_where_nothing_can_take_up_scales(tmp_path):
    model = mlp()
    outcome = compress(model, "int4", tmp_path, Rows(model, correlated(20, 64, seed=1)), rounding="awq")
    assert "no constant there can take up the scales" in texts(outcome)
    assert len(outcome.facts["weights"]) == 2


def test_one_sample_of_which_a_layer_sees_one_row_moves_nothing_but_the_bias(tmp_path):
    model, sample = mlp(), correlated(1, 64, seed=4)
    (exact,) = reference.run(model, {"x": sample})
    outcome = compress(model, "int4", tmp_path, Rows(model, sample), rounding="gptq")
    (found,) = reference.run(model, {"x": sample})
    assert np.square(found - exact).sum() < 0.01 * np.square(exact).sum()
    first = outcome.facts["weights"][0]
    assert first["weight"] == "u" and first["output_error"] == 0  # the bias does all of it
