"""A model with states is timed step after step: fed what it computed one before, as a loop of onnxruntime does it."""

from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest

from compressctl.__main__ import run
from compressctl.data.carried import CarriedStates
from compressctl.data.notation import open_source
from compressctl.data.random import random_walk
from compressctl.data.subset import every
from compressctl.data.walk import MADE_UP_STEPS, MOST_STEPS, Walk
from compressctl.errors import ModelError
from compressctl.measure import latency as timing
from compressctl.measure.latency import LatencyOptions, compare_latency
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from tests.graphs import save

RNG = np.random.default_rng(0)
W, R = ((RNG.normal(size=(rows, 16)) / 4).astype(np.float32) for rows in (8, 16))
X = RNG.normal(size=(5, 6, 8)).astype(np.float32)


def write(path, factor=1.0, more=""):
    """hn = tanh(x W + h R), y = hn, z = hn in bfloat16; the states lie along the second dimension."""
    body = """
        a = MatMul(x, w) b = MatMul(h, r) c = Add(a, b) hn = Tanh(c)
        first = Constant<value = int64[1] {0}>() y = Squeeze(hn, first) z = Cast<to = 16>(hn)
    """
    inputs, outputs = "float[n,8] x, float[1,n,16] h", "float[n,16] y, float[1,n,16] hn" + more
    return save(path, body, {"w": W * np.float32(factor), "r": R}, inputs, outputs)


def opened(path, data):
    return CarriedStates(open_source(str(data), interface(load_model(path).model)[0]), Session(path, threads=1).run)


def looped(path, walk):
    """The states that a plain loop of onnxruntime feeds at each step."""
    session, state, fed = ort.InferenceSession(path), walk.first["h"], []
    for feeds in walk.steps:
        fed.append(state)
        (state,) = session.run(["hn"], {"x": feeds["x"], "h": state})
    return np.stack(fed)


class Watched:
    """An onnxruntime session that keeps what it is fed."""

    def __init__(self, session):
        self._session, self.fed = session, []

    def run(self, names, feeds):
        self.fed.append(dict(feeds))
        return self._session.run(names, feeds)


def test_each_of_two_models_goes_on_from_its_own_states(tmp_path, monkeypatch):
    paths = [write(tmp_path / "m.onnx"), write(tmp_path / "o.onnx", factor=1.5)]
    np.savez(tmp_path / "x.npz", x=X)
    walk = opened(paths[0], tmp_path / "x.npz").walk(2)
    np.testing.assert_array_equal([feeds["x"] for feeds in walk.steps], X[:2].swapaxes(0, 1))
    for path in paths:
        session = Session(path, threads=1)
        watched = session._session = Watched(session._session)
        seconds = session.time_steps(walk, 3)
        assert seconds.shape == (3, 6) and (seconds > 0).all()
        states = np.stack([feeds["h"] for feeds in watched.fed]).reshape(3, 6, 1, 2, 16)
        for time in states:  # from the first states each time
            np.testing.assert_allclose(time, looped(path, walk), atol=1e-6)
    monkeypatch.setattr(timing, "_WALK", 60.0)
    (found,) = compare_latency(paths[0], paths[1:], walk, LatencyOptions(threads=1, seconds=0.1))
    assert found.baseline.steps == found.result.steps == 6
    assert found.result.runs % 6 == 0
    monkeypatch.setattr(timing, "_WALK", 0.0)
    (found,) = compare_latency(paths[0], paths[1:], walk, LatencyOptions(threads=1, seconds=0.1))
    assert found.result.steps == 2


def test_states_are_carried_beside_types_that_numpy_lacks(tmp_path):
    path = write(tmp_path / "m.onnx", more=", bfloat16[1,n,16] z")
    walk = random_walk(interface(load_model(path).model)[0], 2, 0)
    session = Session(path, threads=1)
    fed, call = [], session._session.run_with_ort_values

    def watched(names, feeds):
        fed.append(feeds["h"].numpy())
        return call(names, feeds)

    session._session = SimpleNamespace(run_with_ort_values=watched)
    assert session.time_steps(walk, 1).shape == (1, MADE_UP_STEPS)
    np.testing.assert_allclose(np.stack(fed), looped(path, walk), atol=1e-6)


def test_a_model_without_the_output_of_a_state_is_refused(tmp_path):
    walk = Walk(({"x": X[:1, 0], "h": np.zeros((1, 1, 16), np.float32)},), {"h": "next"})
    with pytest.raises(ModelError, match=r"has no output 'next'.*y, hn"):
        Session(write(tmp_path / "m.onnx")).time_steps(walk, 1)


@pytest.mark.parametrize(
    ("x", "steps"),
    [
        (X, X[0]),
        (X[:, :3], X[0, :3]),  # a sequence is over where it is over
        (np.tile(X, (1, 8, 1)), np.tile(X[0], (8, 1))[:MOST_STEPS]),
        (X[:, 0], np.concatenate([X[:, 0], X[:3, 0]])),  # samples one after the other, again from the first
        (X[:1, 0], np.tile(X[:1, 0], (8, 1))),
    ],
)
def test_a_walk_has_the_steps_of_a_sequence_or_makes_them_up(x, steps, tmp_path):
    path = write(tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=x)
    source = opened(path, tmp_path / "x.npz")
    walks = [source.walk(1)] if len(source) == 1 else [source.walk(1), every(source, 5, held=True).walk(1)]
    for walk in walks if x.ndim == 3 else walks[:1]:
        assert walk.states == {"h": "hn"}
        np.testing.assert_array_equal(np.concatenate([feeds["x"] for feeds in walk.steps]), steps)
        assert not walk.first["h"].any() and not any("h" in feeds for feeds in walk.steps[1:])


def test_bench_times_steps_that_are_made_up_where_there_are_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(timing, "_WALK", 60.0)
    monkeypatch.setattr(timing, "SETS", (2, 2))
    assert run(["bench", str(write(tmp_path / "m.onnx")), "--threads", "1", "--seconds", "0.1"]) == 0
    assert f"Models, timed over {MADE_UP_STEPS} steps in a row, states carried" in capsys.readouterr().out
