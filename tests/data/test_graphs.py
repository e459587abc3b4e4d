"""Graphs as samples: as many nodes and edges as each has, fed one at a time."""

import json

import numpy as np
import pytest

from compressctl.__main__ import run
from compressctl.data.notation import open_source
from compressctl.errors import DataError
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from tests.graphs import save

RNG = np.random.default_rng(0)
NODES, EDGES = (5, 9, 3), (7, 20, 2)
X = [RNG.normal(size=(n, 16)).astype(np.float32) for n in NODES]
PAIRS = [RNG.integers(0, n, size=(2, e)) for n, e in zip(NODES, EDGES, strict=True)]


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Each node adds what its neighbours send."""
    monkeypatch.chdir(tmp_path)
    body = """
        zero = Constant<value = int64 {0}>() one = Constant<value = int64 {1}>()
        last = Constant<value = int64[1] {-1}>()
        h = MatMul(x, w) sources = Gather(edge_index, zero) targets = Gather(edge_index, one) sent = Gather(h, sources)
        where = Unsqueeze(targets, last) y = ScatterND<reduction = "add">(h, where, sent)
    """
    weight = {"w": RNG.normal(size=(16, 16)).astype(np.float32)}
    inputs = "float[num_nodes,16] x, int64[2,num_edges] edge_index"
    return save(tmp_path / "g.onnx", body, weight, inputs, "float[num_nodes,16] y")


def arrays(**more):
    named = {f"x/{i}": x for i, x in enumerate(X)} | {f"edge_index/{i}": pairs for i, pairs in enumerate(PAIRS)}
    return {**named, **more}


def test_one_graph_is_fed_at_a_time(model):
    np.savez("graphs.npz", **arrays())
    source = open_source("graphs.npz[1:]", interface(load_model(model).model)[0])
    assert len(source) == 2 and source.fixed_batch == 1
    for batch, x, pairs in zip(source.batches(16), X[1:], PAIRS[1:], strict=True):
        np.testing.assert_array_equal(batch.feeds["x"], x)
        np.testing.assert_array_equal(batch.feeds["edge_index"], pairs)


def test_a_graph_that_does_not_fit_is_named(model):
    np.savez("graphs.npz", **arrays(**{"x/1": X[1][:, :8]}))
    with pytest.raises(DataError, match=r"x/1' has shape 1x9x8"):
        open_source("graphs.npz", interface(load_model(model).model)[0])
    np.savez("graphs.npz", **arrays(**{"x/3": X[1]}))
    with pytest.raises(DataError, match=r"3 rows, but .* has 4"):
        open_source("graphs.npz", interface(load_model(model).model)[0])


@pytest.mark.parametrize("data", ["graphs.npz", "python:graphs:samples", None])
def test_graphs_calibrate(data, model, tmp_path, capsys, monkeypatch):
    np.savez("graphs.npz", **arrays())
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "graphs.py").write_text(
        "import numpy as np\n"
        "def samples():\n"
        "    held = np.load('graphs.npz')\n"
        "    for i in range(3):\n"
        "        yield {name: held[f'{name}/{i}'] for name in ('x', 'edge_index')}\n"
    )
    given = ["--scheme", "int8-dynamic"]
    if data is not None:
        given = ["--calibrate", data, "--scheme", "int8", "--allow-python"]
    assert run(["quantize", "g.onnx", "-o", "o.onnx", *given, "--json", "-q", "--threads", "1"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["output"]["fidelity"]
    noise = signal = 0.0
    for x, pairs in zip(X, PAIRS, strict=True):
        a, b = (Session(tmp_path / f, threads=1).run({"x": x, "edge_index": pairs})["y"] for f in ("g.onnx", "o.onnx"))
        noise, signal = noise + float(((a - b) ** 2).sum()), signal + float((a**2).sum())
    if data is not None:
        assert found["sqnr_db"] == pytest.approx(10 * np.log10(signal / noise), abs=0.05)
    assert 10 * np.log10(signal / noise) > 25
