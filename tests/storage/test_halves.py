"""Float32 graphs whose weights a file keeps in half precision, behind Casts, under every pass that edits weights."""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compressctl.model.save import serialize
from compressctl.passes import cluster, low_rank, prune, quantize, quantize_weights, simplify, sparsify, store
from compressctl.passes.base import PassConfig
from tests import graphs
from tests.passes import apply
from tests.training.tiny import Arrays

BODY = """
    [conv] c = Conv <pads = [1, 1, 1, 1]> (x, k) r = Relu (c) [conv2] c2 = Conv <pads = [1, 1, 1, 1]> (r, k2)
    r2 = Relu (c2) g = GlobalAveragePool (r2) f = Flatten (g) [fc] p = Gemm <transB = 1> (f, v, vb)
    [look] e = Gather (table, i) s = Add (p, e) vt = Transpose <perm = [1, 0]> (w) [out] y = MatMul (s, vt)
"""
SHAPES = {"k": (48, 3, 3, 3), "k2": (48, 48, 3, 3), "v": (64, 48), "vb": (64,), "table": (128, 64), "w": (40, 64)}
PASSES: dict[str, tuple[PassConfig, float, float]] = {  # the share of the bytes that are left at most, SQNR at least
    "simplify": (simplify.Config(), 1, 60),
    "int8": (quantize.Config(scheme="int8"), 0.65, 20),
    "int8-dynamic": (quantize.Config(scheme="int8-dynamic"), 0.65, 20),
    "auto": (quantize.Config(), 0.65, 20),
    "int8-weights": (quantize_weights.Config(scheme="int8-weights"), 0.6, 20),
    "int4": (quantize_weights.Config(scheme="int4", rounding="nearest"), 0.45, 8),
    "sparsify": (sparsify.Config(ratio=0.1), 1, 15),
    "cluster": (cluster.Config(clusters=16), 1, 15),
    "prune": (prune.Config(ratio=0.25), 0.85, 0),
    "low-rank": (low_rank.Config(ratio=0.6), 1, 10),
    "store": (store.Config(), 1, 60),
}


def _model(kind: np.dtype, repeats: bool = False) -> ir.Model:
    proto = graphs.proto(BODY, {}, "float[n, 3, 8, 8] x, int64[n] i", "float[n, 40] y")
    rng, casts = np.random.default_rng(0), []
    for name, shape in SHAPES.items():
        array = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        array = np.round(array * 4) / 4 if repeats else array
        proto.graph.initializer.append(ir.to_proto(ir.tensor(array.astype(kind), name=f"{name}_half")))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    for index, node in enumerate(model.graph):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", PASSES)
def test_weights_behind_casts_are_compressed_and_nothing_grows(name: str, kind: np.dtype, tmp_path: Path) -> None:
    config, share, decibels = PASSES[name]
    model, rng = _model(kind), np.random.default_rng(1)
    feeds = {"x": rng.standard_normal((16, 3, 8, 8)).astype(np.float32), "i": rng.integers(0, 128, 16)}
    given = model if name == "simplify" else apply(simplify.Config(), model, tmp_path).model
    result = apply(config, given, tmp_path, Arrays(feeds)).model
    before, after = (serialize(one, tmp_path) for one in (given, result))
    assert len(after) <= share * len(before) + (0 if share == 1 else 2000)
    (expected,), (found,) = graphs.run(model, feeds), graphs.run(result, feeds)
    assert np.square(expected - found).mean() <= 10 ** (-decibels / 10) * np.square(expected).mean()
    large = [v for v in result.graph.initializers.values() if v.const_value.size > 1024]
    assert not [value.name for value in large if value.dtype == ir.DataType.FLOAT]


def test_store_finds_forms_smaller_than_half_precision(tmp_path: Path) -> None:
    model = _model(np.float16, repeats=True)
    outcome = apply(store.Config(), model, tmp_path)
    assert len(serialize(outcome.model, tmp_path)) < 0.6 * len(serialize(model, tmp_path))
    assert outcome.facts["bytes"]["before"] < len(serialize(model, tmp_path))
    feeds = {"x": np.ones((2, 3, 8, 8), np.float32), "i": np.arange(2)}
    assert np.array_equal(*(graphs.run(one, feeds)[0] for one in (model, outcome.model)))


def test_what_is_left_alone_keeps_its_stored_values(tmp_path: Path) -> None:
    model = _model(np.float16)
    result = apply(quantize_weights.Config(scheme="int8-weights", exclude=("conv*",)), model, tmp_path).model
    kept = {v.name: v.const_value.numpy() for v in result.graph.initializers.values() if v.dtype == ir.DataType.FLOAT16}
    for name in ("k", "k2"):
        stored = model.graph.initializers[f"{name}_half"].const_value.numpy()
        assert any(np.array_equal(array, stored) for array in kept.values())


BRANCH = """{name} () => (float[n, 64] {name}) {{
    [cast_{name}] w = Cast <to = 1> ({half}) [in_{name}] {name} = MatMul (x, w)
}}"""


@pytest.mark.parametrize("halves", [("wh", "wh"), ("wh", "vh")])
def test_branches_that_use_the_same_names(halves: tuple[str, str], tmp_path: Path) -> None:
    then, otherwise = (BRANCH.format(name=name, half=half) for name, half in zip("ab", halves, strict=True))
    text = f"[choose] y = If (c) <then_branch = {then}, else_branch = {otherwise}>"
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((64, 64)).astype(np.float16) for name in set(halves)}
    model = graphs.model(text, arrays, "float[n, 64] x, bool c", "float[n, 64] y")
    result = apply(quantize_weights.Config(scheme="int8-weights"), model, tmp_path).model
    large = [value for value in result.graph.initializers.values() if value.const_value.size > 256]
    assert [value.dtype for value in large] == [ir.DataType.UINT8] * len(arrays)
    for taken in (True, False):
        feeds = {"x": rng.standard_normal((4, 64)).astype(np.float32), "c": np.array(taken)}
        (expected,), (found,) = graphs.run(model, feeds), graphs.run(result, feeds)
        assert np.square(expected - found).mean() <= 1e-3 * np.square(expected).mean()


def test_what_is_read_in_half_precision_too_is_not_stored_twice(tmp_path: Path) -> None:
    body = "[cast] w = Cast <to = 1> (wh) [mm] y = MatMul (x, w) [same] z = Identity (wh)"
    half = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float16)
    model = graphs.model(body, {"wh": half}, "float[n, 64] x", "float[n, 64] y, float16[64, 64] z")
    result = apply(quantize_weights.Config(scheme="int8-weights"), model, tmp_path).model
    assert [value.const_value.nbytes for value in result.graph.initializers.values()] == [half.nbytes]
