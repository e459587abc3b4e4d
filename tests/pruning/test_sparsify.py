"""The pass `sparsify`: which weights become zero, by formulas written out; what is left alone says why."""

from functools import partial

import numpy as np
import pytest

from compressctl.errors import ModelError, UsageError
from compressctl.measure.session import Session
from compressctl.model.graph import set_constant
from compressctl.numerics.sparsity import share
from compressctl.passes import sparsify
from tests import graphs
from tests.graphs import weights
from tests.passes import apply, texts
from tests.training.tiny import Arrays, blobs, mlp

run = partial(apply, sparsify)
random = graphs.Random(3)


CNN = {"w1": random(8, 3, 3, 3), "b1": random(8), "w2": random(8, 4, 3, 3), "b2": random(8), "w3": random(8, 5)}
X = random(40, 3, 7, 7)
cnn = partial(graphs.cnn, CNN)


def _output(model) -> np.ndarray:
    return Session(model, threads=1).run({"x": X})["y"]


def test_threshold_zeroes_what_is_smaller(tmp_path):
    out = run(cnn(), tmp_path, threshold=0.5)
    for name in ("w1", "w2", "w3"):
        np.testing.assert_array_equal(weights(out.model)[name], np.where(np.abs(CNN[name]) < 0.5, 0, CNN[name]))
    np.testing.assert_array_equal(weights(out.model)["b1"], CNN["b1"])
    zeros = [int((np.abs(CNN[name]) < 0.5).sum()) for name in ("w1", "w2", "w3")]
    assert [row["zeros"] for row in out.facts["layers"]] == zeros
    assert f"{sum(zeros)} of {216 + 288 + 40} weights are zero" in texts(out)[None]
    assert "dense kernels get no faster" in texts(out)[None]


def test_ratio_of_each_layer(tmp_path):
    out = run(cnn(), tmp_path, ratio=0.7, scope="layer")
    for name in ("w1", "w2", "w3"):
        expected = np.where(share(np.abs(CNN[name]), 0.7), 0, CNN[name])
        np.testing.assert_array_equal(weights(out.model)[name], expected)


def test_global_ratio_does_not_depend_on_the_scale_of_a_layer(tmp_path):
    model, scaled = cnn(), cnn()
    set_constant(scaled.graph.initializers["w2"], CNN["w2"] / 1024)
    plain, other = run(model, tmp_path, ratio=0.8), run(scaled, tmp_path, ratio=0.8)
    assert sum(row["zeros"] for row in plain.facts["layers"]) == round(0.8 * 544)
    assert [row["zeros"] for row in plain.facts["layers"]] == [row["zeros"] for row in other.facts["layers"]]


def test_zeros_stay_and_count(tmp_path):
    once = run(cnn(), tmp_path, ratio=0.5, importance="random", seed=1).model
    twice = run(once, tmp_path, ratio=0.7).model
    for name in ("w1", "w2", "w3"):
        assert not weights(twice)[name][weights(once)[name] == 0].any()
    assert sum(int((weights(twice)[name] == 0).sum()) for name in ("w1", "w2", "w3")) == round(0.7 * 544)
    again = run(twice, tmp_path, ratio=0.6).model
    for name in ("w1", "w2", "w3"):
        np.testing.assert_array_equal(weights(again)[name], weights(twice)[name])


@pytest.mark.parametrize("calibrated", [False, True])
def test_two_of_four_input_channels(tmp_path, calibrated):
    out = run(cnn(), tmp_path, Arrays({"x": X}) if calibrated else None, nm="2:4")
    found = weights(out.model)
    for outputs in (found["w2"], found["w3"].T):  # [outputs, channels, *kernel]: 4 channels, 2 times 4
        quads = outputs.reshape(len(outputs), -1, 4, *outputs.shape[2:])
        np.testing.assert_array_equal((quads != 0).sum(axis=2), 2)
    if not calibrated:
        order = np.argsort(np.abs(CNN["w2"]), axis=1)
        np.testing.assert_array_equal(np.take_along_axis(found["w2"], order[:, 2:], 1) != 0, True)
    np.testing.assert_array_equal(found["w1"], CNN["w1"])
    assert "3 input channels are no multiple of 4" in texts(out)["Conv_0"]


def test_reconstruction_halves_the_error(tmp_path):
    expected = _output(cnn())
    errors = {}
    for importance in ("magnitude", "obs"):
        for reconstruct in (False, True):
            if importance == "obs" and not reconstruct:
                continue
            out = run(cnn(), tmp_path, Arrays({"x": X}), ratio=0.6, importance=importance, reconstruct=reconstruct)
            errors[importance, reconstruct] = np.square(_output(out.model) - expected).mean()
            assert sum(row["zeros"] for row in out.facts["layers"]) == pytest.approx(0.6 * 544, abs=3)
    assert errors["obs", True] < errors["magnitude", True] < 0.5 * errors["magnitude", False]


def test_output_error_is_measured_on_the_samples(tmp_path):
    w, x = random(12, 6), random(500, 12) @ random(12, 12)
    model = graphs.model("y = MatMul(x, w)", {"w": w}, "float[N, 12] x", "float[N, 6] y")
    out = run(model, tmp_path, Arrays({"x": x}), ratio=0.5)
    error = np.square(x @ (weights(out.model)["w"] - w)).sum() / np.square(x @ w).sum()
    assert out.facts["layers"][0]["output_error"] == pytest.approx(error, rel=1e-3)
    assert 0 < error < 0.5


def test_reconstruction_keeps_the_threshold(tmp_path):
    out = run(cnn(), tmp_path, Arrays({"x": X}), threshold=0.4)
    for name in ("w1", "w2", "w3"):
        np.testing.assert_array_equal(weights(out.model)[name] == 0, np.abs(CNN[name]) < 0.4)
    assert not np.array_equal(weights(out.model)["b2"], CNN["b2"])


def test_activation_is_weight_times_size_of_its_input(tmp_path):
    w, x = random(6, 4), random(100, 6) * np.array([1, 9, 0.1, 3, 1, 5], np.float32)
    model = graphs.model("y = Gemm(x, w)", {"w": w}, "float[N, 6] x", "float[N, 4] y")
    out = run(model, tmp_path, Arrays({"x": x}), ratio=0.5, importance="activation", reconstruct=False)
    scores = np.abs(w) * np.sqrt(np.square(x).mean(axis=0))[:, None]
    np.testing.assert_array_equal(weights(out.model)["w"] == 0, share(scores, 0.5))


def test_gradients_rank_by_the_formula(tmp_path):
    """Of y = x w the signed sum of outputs has the gradient x v^T, whose square does not depend on the signs v."""
    w, x = random(6, 4), random(30, 6)
    model = graphs.model("y = Gemm(x, w)", {"w": w}, "float[N, 6] x", "float[N, 4] y")
    hessian = w**2 * np.square(x).mean(axis=0)[:, None]
    taylor = np.abs(w) * np.abs(x).mean(axis=0)[:, None]
    for importance, scores in (("hessian", hessian), ("taylor", taylor)):
        out = run(model, tmp_path, Arrays({"x": x}), ratio=0.5, importance=importance, reconstruct=False)
        np.testing.assert_array_equal(weights(out.model)["w"] == 0, share(scores, 0.5))


def test_random_depends_on_the_seed(tmp_path):
    masks = [weights(run(cnn(), tmp_path, ratio=0.5, importance="random", seed=s).model)["w2"] == 0 for s in (0, 0, 1)]
    assert np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[0], masks[2])


def test_recurrent_weights_are_zeroed(tmp_path):
    arrays = {"w": random(1, 12, 4), "r": random(1, 12, 3), "v": random(3, 2)}
    body = "h, last = GRU<hidden_size = 3>(x, w, r) s = Squeeze(last) y = MatMul(s, v)"
    model = graphs.model(body, arrays, "float[5, N, 4] x", "float[N, 2] y")
    out = run(model, tmp_path, ratio=0.5, scope="layer")
    assert [(weights(out.model)[name] == 0).mean() for name in "wrv"] == [0.5] * 3


def test_shared_weights_are_cut_once(tmp_path):
    w = random(4, 4)
    model = graphs.model("h = MatMul(x, w) a = Relu(h) y = MatMul(a, w)", {"w": w}, "float[N, 4] x", "float[N, 4] y")
    out = run(model, tmp_path, Arrays({"x": random(50, 4)}), ratio=0.5)
    np.testing.assert_array_equal(weights(out.model)["w"], np.where(share(np.abs(w), 0.5), 0, w))
    assert len(out.facts["layers"]) == 1 and "other nodes use it, too" in texts(out)["MatMul_0"]


def test_float16_weights_stay_float16(tmp_path):
    arrays = {"w": random(8, 6).astype(np.float16)}
    model = graphs.model("y = MatMul(x, w)", arrays, "float16[N, 8] x", "float16[N, 6] y")
    out = run(model, tmp_path, Arrays({"x": random(60, 8).astype(np.float16)}), nm="2:4")
    assert weights(out.model)["w"].dtype == np.float16
    assert (weights(out.model)["w"] == 0).mean() == 0.5


def test_the_model_given_shares_no_array_that_changes(tmp_path):
    model = cnn()
    run(model, tmp_path, Arrays({"x": X}), ratio=0.9)
    for name, array in CNN.items():
        np.testing.assert_array_equal(weights(model)[name], array)


def test_globs_choose_nodes(tmp_path):
    out = run(cnn(), tmp_path, Arrays({"x": X}), ratio=0.5, exclude=("Conv_0",))
    assert [row["layer"] for row in out.facts["layers"]] == ["Conv_2", "MatMul_6"]
    np.testing.assert_array_equal(weights(out.model)["w1"], CNN["w1"])
    out = run(cnn(), tmp_path, ratio=0.5, include=("Mat*",))
    assert [row["layer"] for row in out.facts["layers"]] == ["MatMul_6"]
    with pytest.raises(UsageError, match=r"exclude 'conv' matches no node"):
        run(cnn(), tmp_path, ratio=0.5, exclude=("conv",))


def test_nothing_to_prune_is_an_error(tmp_path):
    model = graphs.model("y = Relu(x)", {}, "float[N, 4] x", "float[N, 4] y")
    with pytest.raises(ModelError, match="no float weights"):
        run(model, tmp_path, ratio=0.5)
    with pytest.raises(ModelError, match="no multiple of 4"):
        run(cnn(), tmp_path, nm="2:4", include=("Conv_0",))


def test_samples_are_asked_for(tmp_path):
    with pytest.raises(UsageError, match="--calibrate"):
        run(mlp(), tmp_path, ratio=0.5, reconstruct=True)
    with pytest.raises(UsageError, match="--calibrate"):
        run(mlp(), tmp_path, ratio=0.5, importance="activation")
    assert run(mlp(), tmp_path, blobs(), ratio=0.5, importance="taylor").facts["layers"]


@pytest.mark.parametrize(
    ("body", "w", "x", "batch"),
    [
        ("y = ConvTranspose<strides = [2, 2]>(x, w)", (6, 4, 3, 3), (16, 6, 5, 5), None),
        ("y = ConvTranspose<group = 2>(x, w)", (6, 4, 2), (16, 6, 9), None),
        ("y = MatMul(w, x)", (7, 8), (40, 8, 3), None),
        ("y = MatMul(x, w)", (8, 7), (40, 3, 8), 16),
        ('y = Conv<strides = [2], auto_pad = "SAME_UPPER">(x, w)', (5, 6, 3), (40, 6, 11), None),
        ("y = Conv<group = 2, pads = [1, 0, 1, 0]>(x, w)", (6, 2, 3, 1), (20, 4, 6, 5), 16),
        ("y = Gemm<transB = 1, alpha = 0.5>(x, w)", (6, 8), (60, 8), None),
    ],
)
def test_every_kind_of_layer_is_reconstructed(tmp_path, body, w, x, batch):
    weight = random(*w)
    data = random(x[0], *[1] * (len(x) - 1)) + 0.5 * random(*x)  # inputs that can make up for each other
    dims = ", ".join(map(str, (batch or "N", *x[1:])))
    out = ", ".join(f"d{axis}" for axis in range(len(x)))
    model = graphs.model(body, {"w": weight}, f"float[{dims}] x", f"float[{out}] y")
    feeds = [data[start : start + (batch or len(data))] for start in range(0, len(data) // 16 * 16, batch or len(data))]

    def outputs(m):
        session = Session(m, threads=1)
        return np.concatenate([session.run({"x": feed})["y"] for feed in feeds])

    def error(m):
        return np.square(outputs(m) - outputs(model)).sum() / np.square(outputs(model)).sum()

    plain = run(model, tmp_path, ratio=0.5).model
    mended = run(model, tmp_path, Arrays({"x": data}, batch=batch), ratio=0.5)
    assert (weights(mended.model)["w"] == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert error(mended.model) < 0.7 * error(plain)
    if "ConvTranspose" not in body and batch is None:  # whose outputs overlap; whose last batch is filled up
        assert mended.facts["layers"][0]["output_error"] == pytest.approx(error(mended.model), rel=1e-3)


def test_a_layer_of_very_many_inputs_is_zeroed_plainly(tmp_path):
    w = np.random.default_rng(5).standard_normal((8200, 4)).astype(np.float32)
    model = graphs.model("y = Gemm(x, w)", {"w": w}, "float[N, 8200] x", "float[N, 4] y")
    outcome = run(model, tmp_path, Arrays({"x": np.ones((2, 8200), np.float32)}), ratio=0.5, scope="layer")
    kept = np.abs(w) > np.median(np.abs(w))
    np.testing.assert_array_equal(weights(outcome.model)["w"], np.where(kept, w, 0))
    assert texts(outcome)["Gemm_0"].endswith("it reads 8200 inputs, too many to solve for")
