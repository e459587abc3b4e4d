"""Static INT8 in bodies of If, Loop and Scan: what is observed against numpy, what computes against onnxruntime."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.measure.session import Session
from compressctl.model.graph import all_nodes
from compressctl.passes import qat, quantize
from compressctl.passes.base import Outcome
from compressctl.passes.quantize import auto
from compressctl.quantization.int8.calibration import observe
from compressctl.tensorspec import TensorSpec
from tests import graphs
from tests.passes import apply, texts
from tests.quantization.reference import run
from tests.quantization.test_calibration import Rows

D = 32
RNG = np.random.default_rng(11)
ARRAYS = {name: (RNG.standard_normal((D, D)) / 6).astype(np.float32) for name in ("w", "v")}
ARRAYS |= {"b": RNG.standard_normal(D).astype(np.float32), "k": RNG.standard_normal((D, 1, 3)).astype(np.float32)}
ARRAYS |= {"zero": np.float32(0), "none": np.array(0), "three": np.array(3), "yes": np.array(True)}
ARRAYS |= {"first": np.array([0]), "last": np.array([2])}
F = f"float[N, {D}]"
SIGN = "s = ReduceSum<keepdims = 0>(x) positive = Greater(s, zero)"
YES = "m = MatMul(x, w) r = Relu(m) t = MatMul(r, v)"  # both branches use the same names
NO = "m = Gemm(x, w, b) r = Tanh(m) e = MatMul(r, v)"
IF = f"""{SIGN} y = If(positive) <
    then_branch = yes () => ({F} t) {{ {YES} }}, else_branch = no () => ({F} e) {{ {NO} }}>"""
LOOP = f"""u = Mul(x, x) y = Loop(three, yes, x) <body = step (int64 i, bool c, {F} h) => (bool go, {F} next) {{
    go = Identity(c) m = MatMul(h, w) n = Tanh(m) p = MatMul(u, v) g = Sigmoid(p) next = Mul(n, g) }}>"""
CELL = f"""u = Mul(x, x) y = Loop(three, yes, x) <body = step (int64 i, bool c, {F} h) => (bool go, {F} next) {{
    go = Identity(c) m = MatMul(h, w) p = MatMul(u, v) a = Add(m, p) next = Tanh(a) }}>"""
SCAN = f"""s = Unsqueeze(x, one) t = Concat<axis = 1>(s, s) end, y = Scan<num_scan_inputs = 1, scan_input_axes = [1],
    scan_output_axes = [1], body = step ({F} h, {F} r) => ({F} next, {F} o) {{
    m = MatMul(h, w) n = Tanh(m) p = MatMul(r, v) g = Sigmoid(p) next = Mul(n, g) o = Identity(next) }}>(x, t)"""
NESTED = f"""{SIGN} y = Loop(three, yes, x) <body = step (int64 i, bool c, {F} h) => (bool go, {F} next) {{
    go = Identity(c) odd = Mod(i, two) flag = Cast<to = 9>(odd) next = If(flag) <
        then_branch = yes () => ({F} t) {{ m = MatMul(h, w) t = Tanh(m) }},
        else_branch = no () => ({F} e) {{ m = MatMul(h, v) e = Sin(m) }}> }}>"""
CONVOLUTION = f"""{SIGN} u = Unsqueeze(x, last) n = Transpose<perm = [0, 2, 1]>(u) y = If(positive) <
    then_branch = yes () => ({F} t) {{ c = Conv<pads = [1, 1]>(n, k) r = Relu(c) t = ReduceMax<axes = [1],
        keepdims = 0>(r) }},
    else_branch = no () => ({F} e) {{ e = Identity(x) }}>"""


def _model(body: str, y: str = f"{F} y") -> ir.Model:
    arrays = {**ARRAYS, "one": np.array([1]), "two": np.array(2)}
    model = graphs.model(body, arrays, f"{F} x", y)
    for index, node in enumerate(model.graph.all_nodes()):
        node.name = f"{node.op_type}_{index}"
    return model


def _rows(count: int = 16) -> list[np.ndarray]:
    """Rows whose sums are positive and negative in turn."""
    rows = np.abs(RNG.standard_normal((count, D))) * RNG.uniform(0.5, 1.5, (count, 1))
    rows[1::2] *= -1
    return list((rows + RNG.standard_normal((count, D)) / 4).astype(np.float32))


_KERNELS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat")


class _OneByOne(Rows):
    """Samples whose batches are of one, so that each takes its own branch."""

    def __init__(self, rows: list[np.ndarray]) -> None:
        super().__init__({"x": rows}, [TensorSpec("x", "float32", ("N", D))])

    def _read(self, size: int) -> Iterator[tuple[dict[str, np.ndarray], None]]:
        yield from super()._read(1)


def _quantized(body: str, folder: Path, rows: list[np.ndarray], y: str = f"{F} y", **options: object) -> Outcome:
    options = {"scheme": "int8", "bias_correction": False, **options}
    return apply(quantize, _model(body, y), folder, _OneByOne(rows), **options)


def _scales(model: ir.Model) -> list[tuple[str, float]]:
    """The scales of what each MatMul and Gemm reads, in graph order."""
    found = []
    for node in all_nodes(model.graph):
        if node.op_type in ("MatMul", "Gemm", "Conv"):
            pair = node.inputs[0].producer()
            assert pair is not None and pair.op_type == "DequantizeLinear" and pair.graph is node.graph
            found.append((node.op_type, float(pair.inputs[1].const_value.numpy())))
    return found


def _of_type(model: ir.Model, op_type: str) -> list[ir.Node]:
    return [node for node in all_nodes(model.graph) if node.op_type == op_type]


def _sqnr(before: ir.Model, after: ir.Model, rows: list[np.ndarray]) -> float:
    signal = noise = 0.0
    for row in rows:
        (expected,), (found,) = run(before, {"x": row[None]}), run(after, {"x": row[None]}, optimize=True)
        signal += float(np.square(expected).sum())
        noise += float(np.square(expected - found).sum())
    return 10 * np.log10(signal / noise)


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_branches_get_the_scales_that_they_get_alone(method: str, tmp_path: Path) -> None:
    rows = _rows()
    whole = _quantized(IF, tmp_path, rows, calibration_method=method).model
    parts = [
        _quantized(text, tmp_path, [row for row in rows if (row.sum() > 0) is positive], f"{F} {y}",
                   calibration_method=method).model
        for text, y, positive in ((YES, "t", np.True_), (NO, "e", np.False_))
    ]  # fmt: skip
    assert _scales(whole) == [scale for part in parts for scale in _scales(part)]


@pytest.mark.parametrize(
    ("body", "layers", "formed"),  # onnxruntime makes a Gemm in float of a product that another tensor is added to
    [(IF, 4, 4), (LOOP, 2, 2), (CELL, 2, 1), (SCAN, 2, 2), (NESTED, 2, 2), (CONVOLUTION, 1, 1)],
    ids=["if", "loop", "cell", "scan", "nested", "convolution"],
)
def test_bodies_compute_the_same_on_integers(body: str, layers: int, formed: int, tmp_path: Path) -> None:
    y = f"float[N, S, {D}] y" if body is SCAN else f"{F} y"
    rows = _rows()
    outcome = _quantized(body, tmp_path, rows, y)
    assert outcome.facts["quantized"] == {"static": layers, "dynamic": 0, "weights": 0}
    model = _model(body, y)
    assert len(_of_type(outcome.model, "Identity")) == len(_of_type(model, "Identity"))
    assert _sqnr(model, outcome.model, rows) > 20
    path = tmp_path / "optimized.onnx"
    Session(outcome.model, threads=1, optimized_path=path)
    optimized = ir.load(path)
    assert sum(len(_of_type(optimized, kernel)) for kernel in _KERNELS) >= formed


def _hidden(row: np.ndarray) -> Iterator[np.ndarray]:
    """What the Loop's state is as each iteration begins."""
    h = row[None]
    for _ in range(3):
        yield h
        h = np.tanh(h @ ARRAYS["w"]) / (1 + np.exp(-np.square(row[None]) @ ARRAYS["v"]))


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_loops_are_observed_over_all_iterations(method: str, resources) -> None:
    model, rows = _model(LOOP), _rows()
    found = observe(model, ["h", "u"], _OneByOne(rows), resources, method=method, percentile=100, channel_means=["h"])
    values = np.concatenate([h for row in rows for h in _hidden(row)])
    assert np.allclose(found.ranges["h"], (min(values.min(), 0), values.max()), rtol=1e-5)
    assert found.ranges["u"] == pytest.approx((0, max(np.square(row).max() for row in rows)))
    assert not found.channel_mean  # not of what iterates


def test_percentiles_of_a_loop_come_from_its_iterations(resources) -> None:
    rows = [RNG.standard_normal(D).astype(np.float32) for _ in range(200)]
    found = observe(_model(LOOP), ["h"], _OneByOne(rows), resources, method="percentile", percentile=95).ranges["h"]
    values = np.concatenate([h for row in rows for h in _hidden(row)]).ravel()
    assert found[1] == pytest.approx(np.quantile(np.abs(values), 0.95), rel=0.15)
    assert found[1] < 0.8 * values.max()


@pytest.mark.parametrize("trips", [0, 3])
@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_iterations_may_differ_in_shape_and_number(method: str, trips: int, resources) -> None:
    body = f"""q = Loop(trips, yes, x) <
        body = step (int64 i, bool c, float[M, {D}] h) => (bool go, float[K, {D}] next) {{
        go = Identity(c) n = Neg(h) next = Concat<axis = 0>(h, n) }}> y = Identity(q)"""
    model = graphs.model(body, {**ARRAYS, "trips": np.array(trips)}, f"{F} x", f"float[K, {D}] y")
    rows = _rows(4)
    found = observe(model, ["n"], _OneByOne(rows), resources, method=method, percentile=100)
    most = max(np.abs(row).max() for row in rows) if trips else 0
    assert found.ranges["n"] == pytest.approx((-most, most))


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_what_is_nested_is_observed_wherever_it_is_reached(method: str, resources) -> None:
    inner = f"""body = again (int64 j, bool d, {F} k) => (bool on, {F} more) {{
        on = Identity(d) more = Add(k, x) }}"""
    body = f"""{SIGN} y = If(positive) <
        else_branch = no () => ({F} e) {{ e = Identity(x) }}, then_branch = yes () => ({F} t) {{
        t = Loop(three, yes, x) <body = step (int64 i, bool c, {F} h) => (bool go, {F} next) {{
            go = Identity(c) next = Loop(three, yes, h) <{inner}> }}> }}>"""
    rows = _rows(6)
    found = observe(_model(body), ["more"], _OneByOne(rows), resources, method=method, percentile=100)
    taken = [row for row in rows if row.sum() > 0]
    bounds = min(row.min() for row in taken), max(row.max() for row in taken)
    assert found.ranges["more"] == pytest.approx(tuple(10 * bound for bound in bounds))


def test_bodies_of_other_operators_are_left_with_a_note(tmp_path: Path) -> None:
    body = f"""q = SequenceConstruct(x, x) z = SequenceMap(q) <
        body = each ({F} item) => ({F} o) {{ o = MatMul(item, w) }}>
        m = ConcatFromSequence<axis = 0>(z) y = MatMul(m, v)"""
    outcome = _quantized(body, tmp_path, _rows(2), f"float[M, {D}] y")
    (inside,) = (node.name for node in _of_type(outcome.model, "MatMul") if node.graph is not outcome.model.graph)
    assert texts(outcome)[inside].startswith("in such a body nothing is observed")
    assert outcome.facts["quantized"]["static"] == 1


def test_a_branch_that_no_sample_takes_is_named_and_keeps_floats(tmp_path: Path) -> None:
    rows = [row for row in _rows() if row.sum() > 0]
    outcome = _quantized(IF, tmp_path, rows)
    assert outcome.facts["quantized"] == {"static": 2, "dynamic": 0, "weights": 2}
    (owner,) = (node.name for node in outcome.model.graph if node.op_type == "If")
    assert texts(outcome)[owner] == (
        "no calibration sample takes its else_branch, unless with zeros: 2 layers are quantized without samples; "
        "add some for which 'positive' is false"
    )
    assert _sqnr(_model(IF), outcome.model, _rows()) > 20


@pytest.mark.parametrize(("static", "layers"), [(1.2, 0), (0.5, 1)])
def test_auto_takes_static_bodies_only_where_they_are_faster(static, layers, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(auto.Trial, "ratio", lambda self, plan: static if plan.static else 0.9)
    monkeypatch.setattr(auto.Trial, "slowdown", lambda self: 1.0)
    monkeypatch.setattr(auto.Trial, "layers", lambda self, plan, names: {})
    outcome = _quantized(CONVOLUTION, tmp_path, _rows(), scheme="auto")
    assert outcome.facts["quantized"]["static"] == layers
    assert outcome.facts["bodies"] == {"layers": 1, "static": static, "otherwise": 0.9}


def test_training_leaves_bodies_alone_and_says_so(tmp_path: Path) -> None:
    outcome = apply(qat, _model(IF), tmp_path, training=_OneByOne(_rows()))
    left = [node.name for node in all_nodes(_model(IF).graph) if node.op_type in ("MatMul", "Gemm")]
    assert [texts(outcome)[name] for name in left] == ["training leaves bodies as they are"] * 4
    assert texts(outcome)[None] == "nothing was quantized, so nothing was trained"
