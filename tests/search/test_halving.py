"""Accuracy by stages, held against onnxruntime and numpy."""

import numpy as np
import pytest

from compressctl.data.notation import open_source
from compressctl.measure.metrics import parse_metric
from compressctl.measure.opening import Wanted, open_samples
from compressctl.model.load import described_inputs, load_model
from compressctl.search.halving import SuccessiveHalving
from compressctl.tensorspec import TensorSpec
from tests import graphs

CLASSES, FEATURES, SAMPLES = 4, 6, 300


def linear(path, weight):
    arrays, dims = {"w": weight.astype(np.float32)}, (f"float[batch, {FEATURES}] x", f"float[batch, {CLASSES}] y")
    return graphs.save(path, "y = MatMul(x, w)", arrays, *dims)


@pytest.fixture
def halving(tmp_path):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(SAMPLES, FEATURES)).astype(np.float32), rng.normal(size=(FEATURES, CLASSES))
    labels = np.argmax(x @ weight, axis=1)
    labels[::7] = 0  # so that the input itself is not always right
    np.savez(tmp_path / "d.npz", x=x, labels=labels)
    specs = [TensorSpec("x", "float32", ("batch", FEATURES))]
    source = open_source(str(tmp_path / "d.npz"), specs, seed=0, allow_python=False)
    baseline = linear(tmp_path / "a.onnx", weight)
    return SuccessiveHalving(baseline, source, parse_metric("top1"), 1), x, labels, weight, tmp_path


def right(path, x, labels):
    return np.argmax(graphs.run(path, {"x": x})[0], axis=1) == labels


def test_a_good_candidate_is_judged_on_all_samples(halving):
    halving, x, labels, weight, folder = halving
    file = linear(folder / "b.onnx", weight + 0.05 * np.random.default_rng(1).normal(size=weight.shape))
    partial = halving.run(file, lambda partial: partial.drop.low > 0.1)
    before, after = right(folder / "a.onnx", x, labels), right(file, x, labels)
    assert partial.last and partial.score.count == SAMPLES
    assert partial.score.value == pytest.approx(after.mean())
    assert partial.drop.drop == pytest.approx(before.mean() - after.mean())


def test_a_hopeless_one_is_left_after_the_first_samples(halving):
    halving, x, labels, weight, folder = halving
    file = linear(folder / "b.onnx", -weight)
    partial = halving.run(file, lambda partial: partial.drop.low > 0.1)
    before, after = right(folder / "a.onnx", x, labels)[:64], right(file, x, labels)[:64]
    assert not partial.last and partial.score.count == 64
    assert partial.drop.drop == pytest.approx(before.mean() - after.mean())


def test_stages_grow_fourfold(halving):
    halving, _, _, weight, folder = halving
    counts = []
    halving.run(linear(folder / "b.onnx", weight), lambda partial: counts.append(partial.score.count))
    assert counts == [64, 256]


def test_a_candidate_goes_on_from_its_own_states(tmp_path):
    """h' = a h + x, judged by its sign: 9, 8, 7 of the original, 9, 1.7, -0.49 from the own states of what forgets."""
    for name, factor in (("original", 1.0), ("forgetful", 0.3)):
        arrays = {"a": np.float32(factor), "w": np.float32([[-1, 1]])}
        body = "m = Mul(h_in, a)  h_out = Add(m, x)  y = MatMul(h_out, w)"
        inputs, outputs = "float[n,1] x, float[n,1] h_in", "float[n,2] y, float[n,1] h_out"
        graphs.save(tmp_path / f"{name}.onnx", body, arrays, inputs, outputs)
    x = np.full((4, 3, 1), -1, np.float32)
    x[:, 0] = 9
    np.savez(tmp_path / "d.npz", x=x, labels=np.ones((4, 3), np.int64))
    files = [tmp_path / f"{name}.onnx" for name in ("original", "forgetful")]
    loaded = load_model(files[0])
    wanted = {"path": files[0], "file": files[0], "model": loaded.model, "inputs": described_inputs(loaded, {}, {})}
    samples = open_samples(Wanted(**wanted, notations=(str(tmp_path / "d.npz"),), otherwise="random:1"))
    scores = [SuccessiveHalving(files[0], samples.usual, parse_metric("top1:y"), 1).run(f, bool).score for f in files]
    assert [score.value for score in scores] == [1, pytest.approx(2 / 3)]
