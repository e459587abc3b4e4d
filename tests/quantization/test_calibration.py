"""Observations against numpy statistics of all intermediate values, taken from an unoptimised onnxruntime run."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.data.source import Source
from compressctl.errors import DataError, ModelError
from compressctl.measure.session import Session
from compressctl.model.graph import initializer
from compressctl.numerics import ranges
from compressctl.numerics.histogram import Histogram
from compressctl.quantization.int8.calibration import observe
from compressctl.quantization.int8.observers import Observer
from compressctl.tensorspec import TensorSpec
from tests import graphs

RNG = np.random.default_rng(5)
WEIGHTS = {
    name: RNG.standard_normal(shape).astype(np.float32)
    for name, shape in {"w": (4, 3, 3, 3), "b": 4, "v": (4, 5), "table": (11, 6), "gain": 6, "m": (6, 6)}.items()
}
CNN = "c = Conv<pads = [1, 1, 1, 1]>(x, w, b) r = Relu(c) g = GlobalAveragePool(r) f = Flatten(g) y = MatMul(f, v)"


class Rows(Source):
    """Samples held in memory; those of one batch have one shape."""

    def __init__(self, feeds: dict[str, list[np.ndarray]], specs: list[TensorSpec]) -> None:
        super().__init__("rows", specs)
        self.feeds = feeds

    def __len__(self) -> int:
        return len(next(iter(self.feeds.values())))

    @property
    def has_labels(self) -> bool:
        return False

    def _read(self, size: int) -> Iterator[tuple[dict[str, np.ndarray], None]]:
        for start in range(0, len(self), size):
            yield {name: np.stack(rows[start : start + size]) for name, rows in self.feeds.items()}, None


def _model(body: str, x: str = "float[N, 3, H, 9] x", y: str = "float[N, 5] y") -> ir.Model:
    return graphs.model(body, WEIGHTS, x, y)


def _source(model: ir.Model, rows: list[np.ndarray]) -> Rows:
    (value,) = model.graph.inputs
    assert value.dtype is not None and value.shape is not None
    shape = tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)
    spec = TensorSpec(value.name or "", value.dtype.numpy().name, shape)
    return Rows({spec.name: rows}, [spec])


def _values(model: ir.Model, rows: list[np.ndarray], names: list[str]) -> dict[str, list[np.ndarray]]:
    """All values of the named tensors, one array a sample."""
    clone = model.clone()
    by_name = {value.name: value for node in clone.graph for value in node.outputs}
    by_name |= {value.name: value for value in clone.graph.inputs}
    for name in names:
        if not by_name[name].is_graph_output() and not by_name[name].is_graph_input():
            by_name[name].type = by_name[name].type or ir.TensorType(ir.DataType.FLOAT)
            clone.graph.outputs.append(by_name[name])
    session = Session(clone, optimize=False, threads=1)
    feed = session.inputs[0].name
    results = [{feed: row[None]} | session.run({feed: row[None]}) for row in rows]
    return {name: [result[name] for result in results] for name in names}


def _cnn() -> tuple[ir.Model, list[np.ndarray]]:
    return _model(CNN), [RNG.standard_normal((3, 7, 9)).astype(np.float32) for _ in range(11)]


@pytest.mark.parametrize("batch_size", [1, 4, 11, None])
def test_minmax_is_exact(batch_size, resources):
    model, rows = _cnn()
    names = ["x", "c", "r", "g", "f", "y"]
    found = observe(model, names, _source(model, rows), resources, batch_size=batch_size)
    assert list(found.ranges) == names and found.samples == 11 and not found.notes
    for name, values in _values(model, rows, names).items():
        expected = min(0.0, *(v.min() for v in values)), max(0.0, *(v.max() for v in values))
        np.testing.assert_allclose(found.ranges[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_model_is_left_as_it_was(resources):
    model, rows = _cnn()
    before = ir.to_proto(model).SerializeToString()
    observe(model, ["r"], _source(model, rows), resources, method="mse", channel_means=["x"], channel_absmax=["f"])
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_methods_see_all_values_of_small_tensors(method, batch_size, resources):
    model, rows = _cnn()
    names = ["x", "r", "f"]
    found = observe(
        model, names, _source(model, rows), resources, method=method, percentile=95.0, batch_size=batch_size
    )
    for name, values in _values(model, rows, names).items():
        histogram = Histogram()
        histogram.update(np.concatenate([v.reshape(-1) for v in values]))
        expected = ranges.choose(histogram, method, percent=95.0)
        np.testing.assert_allclose(found.ranges[name], expected, atol=2 * histogram.width, err_msg=name)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_channel_means_follow_the_reader(batch_size, resources):
    model, rows = _cnn()
    found = observe(
        model, [], _source(model, rows), resources, channel_means=["x", "f"], batch_size=batch_size
    ).channel_mean
    np.testing.assert_allclose(found["x"], np.mean(rows, axis=(0, 2, 3)), rtol=1e-5, atol=1e-6)
    values = _values(model, rows, ["f"])["f"]
    np.testing.assert_allclose(found["f"], np.mean(np.concatenate(values), axis=0), rtol=1e-5, atol=1e-6)


def test_channel_means_weigh_every_value_alike_whatever_the_shapes(resources):
    model = _model(CNN)
    rows = [RNG.standard_normal((3, height, 9)).astype(np.float32) for height in (1, 2, 30)]
    found = observe(model, ["x"], _source(model, rows), resources, channel_means=["x"], batch_size=1)
    expected = np.concatenate(rows, axis=1).mean(axis=(1, 2))
    np.testing.assert_allclose(found.channel_mean["x"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [17, 20])  # from 18 on, reductions take their axes as an input
def test_last_axis_of_sequences(opset, resources):
    body = "e = Gather(table, ids) n = LayerNormalization(e, gain) y = MatMul(n, m)"
    model = graphs.model(body, WEIGHTS, "int64[N, S] ids", "float[N, S, 6] y", opset)
    rows = [RNG.integers(0, 11, 5) for _ in range(9)]
    source = _source(model, rows)
    found = observe(
        model, ["n", "ids"], source, resources, channel_means=["n"], channel_absmax=["n", "e"], batch_size=4
    )
    values = {name: np.concatenate(v).reshape(-1, 6) for name, v in _values(model, rows, ["n", "e"]).items()}
    np.testing.assert_allclose(found.channel_mean["n"], values["n"].mean(axis=0), rtol=1e-4, atol=1e-6)
    for name in ("n", "e"):
        np.testing.assert_allclose(found.channel_absmax[name], np.abs(values[name]).max(axis=0), rtol=1e-5)
    assert found.ranges["ids"] == (0, max(row.max() for row in rows))


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_other_types_and_empty_tensors(method, resources):
    body = """
        h = Cast<to = 10>(x)
        d = Cast<to = 11>(x)
        i = Cast<to = 7>(x)
        p = Greater(x, zero)
        where = NonZero(p)
        shape = Shape(x)
        flags = Reshape(p, flat)
        kept = Compress(x, flags)
        y = Neg(kept)"""
    model = graphs.model(body, {"zero": np.zeros(1, "f"), "flat": np.array([-1])}, "float[N, 4] x", "float[M] y")
    positive = [np.array([1, -2, 3.5, 0], np.float32)] * 2
    expected = {
        "h": (-2, 3.5),
        "d": (-2, 3.5),
        "i": (-2, 3),
        "p": (0, 1),
        "y": (-3.5, 0),
        "where": (0, 2),
        "shape": (0, 4),
    }
    found = observe(model, expected, _source(model, positive), resources, method=method, batch_size=1).ranges
    for name, bounds in expected.items():
        np.testing.assert_allclose(found[name], bounds, atol=0.02, err_msg=name)
    negative = [np.full(4, -1, np.float32)]
    empty = observe(model, ["kept", "y"], _source(model, negative), resources, method=method)
    assert empty.ranges == {"kept": (0, 0), "y": (0, 0)}
    assert [note.node for note in empty.notes] == ["kept", "y"]
    sometimes = observe(model, ["y"], _source(model, negative + positive), resources, method=method, batch_size=1)
    assert sometimes.ranges["y"] == pytest.approx((-3.5, 0), abs=0.02) and not sometimes.notes


@pytest.mark.parametrize("method", ["minmax", "mse"])
@pytest.mark.parametrize(("op", "kind"), [("Log", "NaN"), ("Reciprocal", "infinite")])
def test_what_is_not_finite_names_the_tensor_and_the_samples(method, op, kind, resources):
    model = _model(f"l = {op}(x) y = Relu(l)", "float[N, 100] x", "float[N, 100] y")
    rows = [np.ones(100, np.float32) for _ in range(6)]
    rows[4][77] = -1 if kind == "NaN" else 0
    with pytest.raises(DataError, match=f"rows: tensor 'l' becomes {kind}.*starts at sample 4"):
        observe(model, ["x", "l"], _source(model, rows), resources, method=method, batch_size=2)


def test_large_finite_values_are_no_fault(resources):
    model = _model("y = Neg(x)", "float[N, 9] x", "float[N, 9] y")
    rows = [np.full(9, 3e38, np.float32)]
    assert observe(model, ["x"], _source(model, rows), resources).ranges["x"][1] == np.float32(3e38)


def test_strangers_are_refused(resources):
    model = _model("y = Neg(x)", "float[N, 2] x", "float[N, 2] y")
    with pytest.raises(ModelError, match="'nowhere' cannot be observed: it is not in the main graph"):
        observe(model, ["nowhere"], _source(model, [np.ones(2, np.float32)]), resources)


def test_fixed_batch_model(resources):
    model = _model(CNN, "float[4, 3, 7, 9] x", "float[4, 5] y")
    rows = [RNG.standard_normal((3, 7, 9)).astype(np.float32) for _ in range(6)]
    found = observe(model, ["x"], _source(model, rows), resources, batch_size=1)
    assert found.samples == 6
    np.testing.assert_allclose(found.ranges["x"], (np.min(rows), np.max(rows)))


def test_sampling_has_no_favourite_columns():
    model = _model("y = Neg(x)", "float[512, 256] x", "float[512, 256] y")
    observer = Observer(model)
    observer.sample(model.graph[0].outputs[0])
    observer.extrema(model.graph[0].outputs[0])
    stride, sample = observer.observed.stride, observer.observed.sample["y"]
    assert stride is not None
    x = np.broadcast_to(-np.arange(256, dtype=np.float32), (512, 256))
    for count in (4096, 8192):  # plain distances of 32 and 16: they would hit every 32nd or 16th column only
        factor = np.asarray((1 + np.sqrt(5) / 200) / count)
        values = Session(model, threads=1).run({"x": np.ascontiguousarray(x), stride: factor})[sample]
        assert values.size == pytest.approx(count, rel=0.02)
        hits = np.bincount(values.astype(int), minlength=256)
        assert hits.min() >= 0.8 * count / 256 and hits.max() <= 1.2 * count / 256


def test_observer_names_stay_clear_of_the_models(resources):
    model = _model(CNN.replace(" r = Relu(c)", " sampling_stride = Relu(c)").replace("(r)", "(sampling_stride)"))
    initializer(model.graph, "observer_zero", np.zeros(1, np.float32))
    rows = [RNG.standard_normal((3, 7, 9)).astype(np.float32)]
    assert observe(model, ["sampling_stride"], _source(model, rows), resources, method="mse").ranges
