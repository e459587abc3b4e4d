"""Sequences of a model with states: each step is fed what the model computed at the one before."""

import json

import numpy as np
import pytest

from compressctl.__main__ import run
from compressctl.data.arrays import ArraySource
from compressctl.data.carried import CarriedStates
from compressctl.data.notation import open_source
from compressctl.data.subset import every
from compressctl.errors import DataError, UsageError
from compressctl.measure.accuracy import evaluate
from compressctl.measure.fidelity import fidelity
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from compressctl.roles import with_states
from tests.graphs import save

RNG = np.random.default_rng(0)
W = (RNG.normal(size=(8, 16)) / 4).astype(np.float32)
R = (RNG.normal(size=(16, 16)) / 4).astype(np.float32)
SEQUENCES, STEPS = 5, 6
X = RNG.normal(size=(SEQUENCES, STEPS, 8)).astype(np.float32)


def write(path, batch="n", factor=1.0):
    """next = tanh(x W + state R), y = next * gain; the states lie along the second dimension."""
    body = """
        a = MatMul(x, w) b = MatMul(state, r) c = Add(a, b) stateN = Tanh(c)
        first = Constant<value = int64[1] {0}>() d = Squeeze(stateN, first) y = Mul(d, gain)
    """
    inputs = f"float[{batch},8] x, float[1,{batch},16] state, float gain"
    outputs = f"float[{batch},16] y, float[1,{batch},16] stateN"
    return save(path, body, {"w": W * np.float32(factor), "r": R}, inputs, outputs)


def by_hand(gain=1.0, factor=1.0):
    """y of each step, [sequences, steps, 16], and the states before it."""
    state, y, before = np.zeros((SEQUENCES, 16)), [], []
    for step in range(STEPS):
        before.append(state)
        state = np.tanh(X[:, step] @ (W * factor) + state @ R)
        y.append(gain * state)
    return np.stack(y, 1), np.stack(before, 1)


def opened(path, data, notation=""):
    session = Session(path, threads=1)
    source = open_source(f"{data}{notation}", interface(load_model(path).model)[0])
    return CarriedStates(source, session.run)


@pytest.mark.parametrize(("batch", "size"), [("n", 2), ("n", 5), (1, 4), (2, 4)])
def test_states_are_those_that_the_model_comes_to(batch, size, tmp_path):
    model, data = write(tmp_path / "m.onnx", batch), tmp_path / "x.npz"
    np.savez(data, x=X, gain=np.float32(2))
    source = opened(model, data)
    assert len(source) == SEQUENCES * STEPS
    _, states = by_hand()
    found = []
    for each in source.batches(size):
        assert (
            each.feeds["gain"] == 2
            and each.feeds["gain"].shape == ()
            and each.feeds["state"].shape == (1, len(each.feeds["x"]), 16)
        )
        assert each.feeds["x"].shape[0] == (batch if batch != "n" else each.count)
        found.append(each)
    sequence, step = 0, 0
    for each in found:
        assert each.follows == (step > 0)
        np.testing.assert_array_equal(each.feeds["x"][: each.count], X[sequence : sequence + each.count, step])
        np.testing.assert_allclose(
            each.feeds["state"][0, : each.count], states[sequence : sequence + each.count, step], atol=1e-5
        )
        step += 1
        if step == STEPS:
            sequence, step = sequence + each.count, 0
    assert sequence == SEQUENCES


def test_a_state_that_is_a_single_number_is_carried(tmp_path):
    body = "a = Add(x, level) y = Tanh(a) next = ReduceMean<keepdims = 0>(y)"
    model = save(tmp_path / "m.onnx", body, {}, "float[1,8] x, float level", "float[1,8] y, float next")
    np.savez(tmp_path / "x.npz", x=X)
    session = Session(model, threads=1)
    inputs = with_states(*interface(load_model(model).model), {"level": "next"})
    source = CarriedStates(open_source(str(tmp_path / "x.npz"), inputs), session.run)
    found = [session.run(batch.feeds)["y"] for batch in source.batches(4)]
    expected, level = [], 0.0
    for step in range(STEPS):
        expected.append(np.tanh(X[:1, step] + level))
        level = expected[-1].mean()
    np.testing.assert_allclose(found[:STEPS], expected, atol=1e-6)
    assert len(source.walk(4).steps) == STEPS


def test_a_result_goes_on_from_its_own_states(tmp_path):
    """Its errors add up, as they do in use: on the states of the original they would not."""
    model, other = write(tmp_path / "m.onnx"), write(tmp_path / "o.onnx", factor=1.05)
    np.savez(tmp_path / "x.npz", x=X)
    found = {one.name: one for one in fidelity(Session(model), Session(other), opened(model, tmp_path / "x.npz"), 2)}
    (expected, _), (actual, _) = by_hand(), by_hand(factor=1.05)
    sqnr = 10 * np.log10((expected**2).sum() / ((expected - actual) ** 2).sum())
    assert found["y"].sqnr_db == pytest.approx(sqnr, abs=1e-3)


@pytest.mark.parametrize("last", [False, True])
def test_steps_or_sequences_are_judged(last, tmp_path):
    model, (y, _) = write(tmp_path / "m.onnx"), by_hand(factor=1.05)
    labels = y[:, -1] if last else y
    np.savez(tmp_path / "x.npz", x=X, labels=labels.astype(np.float32))
    score = evaluate(Session(model), opened(model, tmp_path / "x.npz"), parse_metric("mse:y"), batch_size=2)
    expected, _ = by_hand()
    error = ((expected[:, -1] - labels) ** 2 if last else (expected - labels) ** 2).mean()
    assert score.count == (SEQUENCES if last else SEQUENCES * STEPS)
    assert score.value == pytest.approx(error, rel=1e-4)


def test_slices_count_sequences_and_parts_keep_their_states(tmp_path):
    model = write(tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=X)
    source = opened(model, tmp_path / "x.npz", "[1:3]")
    assert len(source) == 2 * STEPS
    np.testing.assert_array_equal(next(source.batches(2)).feeds["x"], X[1:3, 0])
    _, states = by_hand()
    (held,) = every(opened(model, tmp_path / "x.npz"), 5, held=True).batches(100)
    np.testing.assert_allclose(held.feeds["state"][0, 1], states[0, 1], atol=1e-5)  # row 5: sequence 0, step 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "gain": np.array([1, 2, 3, 4, 5], np.float32)}, "gain' differs between samples"),
        ({"x": X[:, 0], "state": np.zeros((SEQUENCES, 2, 16), np.float32)}, "state' has shape 5x2x16"),
        ({"x": X[..., :7]}, "x' has shape 5x7"),
        ({"x/0": X[0], "x/1": X[1, :3]}, "x/0, x/1, … are arrays of a sample each"),
        ({"x": X, "gain": np.array(1, np.float32)}, None),
        ({"x": X[:, 0], "state": np.zeros((SEQUENCES, 1, 16), np.float32)}, None),
        ({"features": X[:, 0]}, None),  # one array to one input needs no name
    ],
)
def test_arrays_fit_the_roles(arrays, message, tmp_path):
    model = write(tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", **arrays)
    inputs = interface(load_model(model).model)[0]
    if message is None:
        source = open_source(str(tmp_path / "x.npz"), inputs)
        assert isinstance(source, ArraySource) and source.carries == ("state" not in arrays)
        assert Session(model).run(source.first(2))["y"].shape == (2, 16)
    else:
        with pytest.raises(DataError, match=message):
            open_source(str(tmp_path / "x.npz"), inputs)


def test_sequences_of_several_lengths_are_padded_where_asked(tmp_path):
    model, lengths = write(tmp_path / "m.onnx"), (4, 2, 3)
    np.savez(tmp_path / "x.npz", **{f"x/{i}": X[i, :length] for i, length in enumerate(lengths)})
    inputs = interface(load_model(model).model)[0]
    source = open_source(f"{tmp_path / 'x.npz'}[:2],pad=0.5", inputs)
    fed = np.concatenate([batch.feeds["x"] for batch in source.batches(2)]).reshape(2, 4, *X.shape[2:])
    expected = np.full((2, 4, *X.shape[2:]), 0.5, np.float32)
    for i, length in enumerate(lengths[:2]):
        expected[i, :length] = X[i, :length]
    np.testing.assert_array_equal(fed, expected)


@pytest.mark.parametrize(
    ("arrays", "pad", "error", "message"),
    [
        ({"x/0": X[0], "x/1": X[1, 0]}, "0", DataError, "cannot be padded beside"),
        ({"x/0": X[0], "x/1": X[1, 0]}, "0/1", UsageError, "pad"),
        ({"x/0": X[0], "x/1": X[1, :, 1:]}, "0", DataError, "no padding fits"),
        ({"x/0": X[0], "x/1": X[1, :0]}, "0", DataError, "no padding fits"),
        ({"x/0": np.ones((2, 8), np.uint8), "x/1": np.ones((3, 8), np.uint8)}, "-1", DataError, "padded with -1"),
    ],
)
def test_what_cannot_be_padded_is_refused(arrays, pad, error, message, tmp_path):
    inputs = interface(load_model(write(tmp_path / "m.onnx")).model)[0]
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(error, match=message):
        open_source(f"{tmp_path / 'x.npz'},pad={pad}", inputs)


def test_an_array_of_another_name_is_named(tmp_path):
    model = write(tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", features=X[:, 0], others=X[:, 1])
    inputs = interface(load_model(model).model)[0]
    with pytest.raises(DataError, match="no array 'x'"):
        open_source(str(tmp_path / "x.npz"), inputs)
    source = open_source(f"{tmp_path / 'x.npz'},x=features", inputs)
    np.testing.assert_array_equal(source.first(2)["x"], X[:2, 0])


def test_commands_take_a_model_with_states(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "m.onnx")
    np.savez("x.npz", x=X)
    command = ["quantize", "m.onnx", "-o", "o.onnx", "--scheme", "int8", "--calibrate", "x.npz", "--input", "gain=3"]
    assert run([*command, "--json", "-q", "--threads", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert 1 < report["input"]["latency"]["steps"] == report["output"]["latency"]["steps"] <= STEPS
    found = {one["name"]: one for one in report["output"]["fidelity"]}
    state, y = np.zeros((1, SEQUENCES, 16), np.float32), []
    session = Session(tmp_path / "o.onnx", threads=1)
    for step in range(STEPS):
        values = session.run({"x": X[:, step], "state": state, "gain": np.array(3, np.float32)})
        state = values["stateN"]
        y.append(values["y"])
    expected, actual = by_hand(gain=3)[0], np.stack(y, 1)
    sqnr = 10 * np.log10((expected**2).sum() / ((expected - actual) ** 2).sum())
    assert found["y"]["sqnr_db"] == pytest.approx(sqnr, abs=0.05)
    assert 20 < sqnr < 60
