"""What teachers give: any value of their graphs, means of several, and the same from disk."""

import numpy as np
import pytest

from compressctl.errors import ModelError
from compressctl.progress import Silent
from compressctl.training import teacher as module
from compressctl.training.samples import TrainingSamples
from compressctl.training.teacher import Teachers
from tests import graphs
from tests.graphs import weights
from tests.training.tiny import Arrays, blobs, classes, fit, mlp, options

X, _ = classes(40)


def relu(m) -> np.ndarray:
    w = weights(m)
    return np.maximum(X @ w["W1"].T + w["b1"], 0)


def scores(m) -> np.ndarray:
    w = weights(m)
    return relu(m) @ w["W2"].T + w["b2"]


def test_outputs_and_values_inside_the_graph(resources):
    m = mlp()
    before = [value.name for value in m.graph.outputs]
    found = Teachers([m], [("y",), ("a",)], resources).run({"x": X})
    np.testing.assert_allclose(found["y",], scores(m), atol=1e-5)
    np.testing.assert_allclose(found["a",], relu(m), atol=1e-5)
    assert [value.name for value in m.graph.outputs] == before


def test_several_teachers_give_the_mean(resources):
    one, two = mlp(1), mlp(2, width=32)
    found = Teachers([one, two], [("y", "y")], resources).run({"x": X})
    np.testing.assert_allclose(found["y", "y"], (scores(one) + scores(two)) / 2, atol=1e-5)
    with pytest.raises(ModelError, match=r"differ in shape: a \[40, 16\], a \[40, 32\]"):
        Teachers([one, two], [("a", "a")], resources).run({"x": X})


def kept(resources, monkeypatch, limit=None) -> tuple[Teachers, TrainingSamples, object]:
    if limit is not None:
        monkeypatch.setattr(module, "_CACHE_BYTES", limit)
    samples = TrainingSamples(blobs(90), resources, held_out=0.3, batch=16)
    teachers = Teachers([mlp()], [("y",), ("a",)], resources)
    note = teachers.keep(samples, np.arange(90), Silent())
    monkeypatch.setattr(teachers, "run", lambda feeds: pytest.fail("ran again"))
    return teachers, samples, note


def test_kept_values_are_those_of_the_rows_and_are_not_computed_again(resources, monkeypatch):
    teachers, samples, note = kept(resources, monkeypatch)
    rows = np.array([17, 3, 88, 3])
    found = teachers.targets(rows, {})
    want = Teachers([mlp()], [("y",), ("a",)], resources).run(samples.at(rows).feeds)
    np.testing.assert_allclose(found["y",], want["y",], atol=1e-6)
    np.testing.assert_allclose(found["a",], want["a",], atol=1e-6)
    assert note is None


def test_values_that_take_too_much_space_are_computed_each_time(resources, monkeypatch):
    with pytest.raises(pytest.fail.Exception, match="ran again"):
        kept(resources, monkeypatch, limit=90 * 4 * 19 - 1)[0].targets(np.array([1]), {})
    assert "computed anew at every step" in kept(resources, monkeypatch, limit=0)[2].text


SIMILARITY = "i = MatMul(image, wi) t = MatMul(text, wt) u = Transpose<perm = [1, 0]>(t) scores = MatMul(i, u)"
CENTRED = "i = MatMul(image, wi) m = ReduceMean<axes = [0]>(i) t = MatMul(text, wt) d = Sub(i, m) scores = Mul(d, t)"
TIME_FIRST = "i = MatMul(image, wi) t = MatMul(text, wt) s = Mul(i, t) scores = Transpose<perm = [1, 0]>(s)"
TOTAL = "i = MatMul(image, wi) t = MatMul(text, wt) s = Mul(i, t) scores = ReduceMean<keepdims = 0>(s)"
PLAIN = "i = MatMul(image, wi) t = MatMul(text, wt) scores = Mul(i, t)"


def two_towers(body: str, batch: int | str = "N"):
    rng = np.random.default_rng(6)
    w = {name: (rng.standard_normal((4, 4)) / 2).astype(np.float32) for name in ("wi", "wt")}
    return graphs.model(body, w, f"float[{batch}, 4] image, float[{batch}, 4] text", "float scores")


def pairs_of_towers(count: int, batch: int | None = None) -> Arrays:
    rng = np.random.default_rng(7)
    feeds = {name: rng.standard_normal((count, 4)).astype(np.float32) for name in ("image", "text")}
    return Arrays(feeds, batch=batch)


@pytest.mark.parametrize("fixed", [None, 4])
@pytest.mark.parametrize("body", [SIMILARITY, CENTRED, TIME_FIRST, TOTAL, PLAIN])
def test_a_student_that_is_its_teacher_has_no_loss(body, fixed, tmp_path):
    """Also where rows depend on their batch of 4, or the 4 rows are no samples at all; 11 of 44 are held out."""
    model, source = two_towers(body, fixed or "N"), pairs_of_towers(46, fixed)
    few = options(train_batch=4, held_out=0.25, evaluate_every=5, steps=30, learning_rate=1e-3)
    result = fit(model, source, "mse", tmp_path, few, teachers=(model.clone(),))
    assert result.initial < 1e-9 and result.best < 1e-9
    first = result.history[1]
    assert first["loss"] < 1e-3, "no step was led away"
    assert any("computed anew" in note.text for note in result.notes) == (body != PLAIN)
