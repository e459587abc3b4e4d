"""The pass `store` and its command: what is stored how, that nothing changes, and what is left alone."""

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compressctl.__main__ import run as cli
from compressctl.errors import UsageError
from compressctl.measure.profile import executed_ops
from compressctl.measure.session import Session
from compressctl.model.save import serialize
from compressctl.passes import quantize, simplify, store
from tests import graphs
from tests.graphs import weights
from tests.passes import apply, texts

COMMAND = "store"
_run = partial(apply, store)
RNG = np.random.default_rng(11)
X = RNG.standard_normal((5, 40)).astype(np.float32)


def _weights() -> dict[str, np.ndarray]:
    """A dense weight, one of 16 values, one 90 % zero, one of 16 bits, one that is zero, one of few vectors."""
    dense = RNG.standard_normal((40, 30)).astype(np.float32)
    few = RNG.standard_normal(16).astype(np.float32)[RNG.integers(0, 16, (30, 50))]
    sparse = np.where(RNG.random((50, 40)) < 0.9, 0, RNG.standard_normal((50, 40))).astype(np.float32)
    half = RNG.standard_normal((40, 40)).astype(np.float16).astype(np.float32)
    vectors = RNG.standard_normal((20, 8)).astype(np.float32)[RNG.integers(0, 20, 40 * 5)].reshape(40, 40)
    zero = np.zeros((40, 40), np.float32)
    return {"dense": dense, "few": few, "sparse": sparse, "half": half, "zero": zero, "vectors": vectors}


WEIGHTS = _weights()


def _mlp() -> ir.Model:
    body = """a = MatMul(x, dense) b = MatMul(a, few) c = MatMul(b, sparse) d = MatMul(c, half) e = MatMul(d, zero)
        f = Add(d, e) y = MatMul(f, vectors)"""
    return graphs.model(body, WEIGHTS, "float[N, 40] x", "float[N, 40] y")


def _output(model: ir.Model) -> np.ndarray:
    return Session(model, threads=1).run({"x": X})["y"]


def _executed(model: ir.Model, folder: Path) -> dict[str, int]:
    (folder / "executed.onnx").write_bytes(serialize(model, folder))
    return executed_ops(folder / "executed.onnx")


def test_each_constant_gets_its_smallest_form(tmp_path):
    outcome = _run(_mlp(), tmp_path)
    rows = {row["tensor"]: row for row in outcome.facts["tensors"]}
    assert {name: row["format"] for name, row in rows.items()} == {
        "dense": "dense",
        "few": "codebook",
        "sparse": "delta-index",
        "half": "float16",
        "zero": "codebook",
        "vectors": "codebook",
    }
    assert [rows[name]["distinct"] for name in ("dense", "few", "zero")] == [None, 16, 1]
    assert rows["vectors"]["detail"] == "20 vectors of 8" and rows["few"]["layer"] == "MatMul_1"
    assert rows["sparse"]["zeros"] == np.sum(WEIGHTS["sparse"] == 0)
    assert {"dense", "bitmask", "delta-index", "coo", "csr"} <= set(rows["sparse"]["bytes"])
    np.testing.assert_array_equal(_output(outcome.model), _output(_mlp()))
    before, after = (len(serialize(model, tmp_path)) for model in (_mlp(), outcome.model))
    told = outcome.facts["bytes"]
    assert told["before"] - told["after"] == pytest.approx(before - after, abs=4)  # lengths of lengths
    assert "5 of 6 constants stored" in texts(outcome)[None]
    assert _executed(outcome.model, tmp_path) == _executed(_mlp(), tmp_path)


@pytest.mark.parametrize("format_", ["auto", "codebook", "bitmask", "delta-index", "coo", "csr"])
def test_dense_undoes_every_form(tmp_path, format_):
    stored = _run(_mlp(), tmp_path, format=format_).model
    np.testing.assert_array_equal(_output(stored), _output(_mlp()))
    back = _run(stored, tmp_path, format="dense").model
    found = weights(back)
    assert set(found) == set(WEIGHTS)
    for name, array in WEIGHTS.items():
        assert found[name].tobytes() == array.tobytes() and found[name].shape == array.shape
    assert [node.op_type for node in back.graph] == [node.op_type for node in _mlp().graph]


def test_a_form_is_forced_where_it_applies(tmp_path):
    outcome = _run(_mlp(), tmp_path, format="csr")
    assert {row["format"] for row in outcome.facts["tensors"]} == {"dense", "csr"}
    found = texts(outcome)
    assert found["dense"] == "not stored as csr: hardly any element is zero"
    assert found["zero"] == "not stored as csr: all its elements are zero, which a codebook of one value says"
    assert texts(_run(_mlp(), tmp_path, format="codebook"))["dense"].endswith("too many of its values differ")


def test_globs_choose_constants_by_their_readers(tmp_path):
    stored = {row["tensor"] for row in _run(_mlp(), tmp_path, exclude=("MatMul_[12]",)).facts["tensors"]}
    assert stored == {"dense", "half", "zero", "vectors"}
    assert [row["tensor"] for row in _run(_mlp(), tmp_path, include=("MatMul_1",)).facts["tensors"]] == ["few"]
    with pytest.raises(UsageError, match="include 'Conv' matches no node"):
        _run(_mlp(), tmp_path, include=("Conv",))
    stored = _run(_mlp(), tmp_path).model
    partly = _run(stored, tmp_path, format="dense", include=("MatMul_1",)).model
    assert "few" in partly.graph.initializers and "sparse" not in partly.graph.initializers


def test_storing_twice_changes_nothing(tmp_path):
    once = _run(_mlp(), tmp_path)
    twice = _run(once.model, tmp_path)
    assert serialize(once.model, tmp_path) == serialize(twice.model, tmp_path)
    assert "parts of packed ones" in texts(twice)[None]
    assert serialize(_run(_mlp(), tmp_path).model, tmp_path) == serialize(once.model, tmp_path)


@pytest.mark.parametrize("format_", ["auto", "bitmask", "delta-index", "coo", "csr"])
def test_simplify_leaves_stored_weights_small(tmp_path, format_):
    stored = _run(_mlp(), tmp_path, format=format_).model
    simple = apply(simplify, stored, tmp_path).model
    assert len(serialize(simple, tmp_path)) <= len(serialize(stored, tmp_path))
    np.testing.assert_array_equal(_output(simple), _output(_mlp()))


def _quantized() -> ir.Model:
    """A convolution that onnxruntime runs on integers, with few of its weights other than zero."""
    weight = np.where(RNG.random((32, 16, 3, 3)) < 0.9, 0, RNG.integers(-127, 128, (32, 16, 3, 3))).astype(np.int8)
    arrays = {"q": weight, "s": np.full(32, 0.02, np.float32), "z": np.zeros(32, np.int8), "a": np.float32(0.05)}
    arrays |= {"b": np.float32(0.3), "u": np.uint8(128)}
    body = """xq = QuantizeLinear(x, a, u) xd = DequantizeLinear(xq, a, u)
        w = DequantizeLinear<axis = 0>(q, s, z) c = Conv(xd, w)
        cq = QuantizeLinear(c, b, u) y = DequantizeLinear(cq, b, u)"""
    return graphs.model(body, arrays, "float[1, 16, 9, 9] x", "float[1, 32, 7, 7] y")


@pytest.mark.parametrize("format_", ["auto", "bitmask", "delta-index", "coo", "csr", "codebook"])
def test_integer_kernels_stay(tmp_path, format_):
    model = _quantized()
    outcome = _run(model, tmp_path, format=format_)
    assert outcome.facts["tensors"][0]["format"] == (format_ if format_ != "auto" else "delta-index")
    x = RNG.standard_normal((1, 16, 9, 9)).astype(np.float32)
    expected, found = (Session(m, threads=1).run({"x": x})["y"] for m in (model, outcome.model))
    np.testing.assert_array_equal(found, expected)
    assert _executed(outcome.model, tmp_path)["QLinearConv"] == 1


def test_who_quantizes_packed_weights_is_told_how_to_unpack_them(tmp_path):
    w = np.repeat(np.arange(4, dtype=np.float32) - 1.5, 256).reshape(32, 32)
    m = graphs.model("y = MatMul(x, w)", {"w": w}, "float[N,32] x", "float[N,32] y")
    notes = apply(quantize, _run(m, tmp_path).model, tmp_path, scheme="int8-dynamic").notes
    reason = "its weight is stored packed, which `compressctl store --format dense` undoes"
    assert reason in [note.text for note in notes]


def test_tables_of_embeddings_are_stored(tmp_path):
    table = RNG.standard_normal(8).astype(np.float32)[RNG.integers(0, 8, (60, 20))]
    model = graphs.model("y = Gather(t, x)", {"t": table}, "int64[N] x", "float[N, 20] y")
    outcome = _run(model, tmp_path)
    assert outcome.facts["tensors"][0]["format"] == "codebook"
    ids = np.array([3, 59, 0])
    np.testing.assert_array_equal(Session(outcome.model, threads=1).run({"x": ids})["y"], table[ids])


def test_what_is_left_alone_is_said(tmp_path):
    hole = np.zeros((20, 20), np.float32)
    hole[3, 4] = np.nan
    few = np.ones((20, 20), np.float32)
    body = "a = MatMul(x, hole) b = Add(a, x) y = MatMul(b, small) z = Identity(x)"
    model = graphs.model(body, {"hole": hole, "small": few}, "float[N, 20] x", "float[N, 20] y")
    model.graph.outputs.append(model.graph.initializers["small"])
    found = texts(_run(model, tmp_path))
    assert found["hole"] == "stored as it is: it holds NaN"
    assert found["small"] == "stored as it is: it is an output of the model"


def test_bodies_are_left_alone(tmp_path):
    text = """[choice] y = If (c) <
        then_branch = yes () => (float[400] t) { [twice] t = Add (x, x) },
        else_branch = no () => (float[400] e) { [neg] e = Mul (x, w) }
    >"""
    proto = graphs.proto(text, {}, "bool c, float[400] x", "float[400] y")
    body = proto.graph.node[0].attribute[1].g
    body.initializer.append(onnx.numpy_helper.from_array(np.zeros(400, np.float32), "w"))
    found = texts(_run(ir.from_proto(proto), tmp_path))
    assert found["choice"] == "the constants in its body are stored as they are"


def test_torch_computes_stored_forms(tmp_path):
    torch = pytest.importorskip("torch")
    from compressctl.torchexec.module import GraphModule

    for format_ in ("auto", "bitmask", "csr"):
        stored = _run(_mlp(), tmp_path, format=format_).model
        found = GraphModule(stored)({"x": torch.from_numpy(X)})["y"].detach().numpy()
        np.testing.assert_array_equal(found, GraphModule(_mlp())({"x": torch.from_numpy(X)})["y"].detach().numpy())


def test_the_command_stores_and_proves_it(report, tmp_path):
    (tmp_path / "in.onnx").write_bytes(serialize(_mlp(), tmp_path))
    found = report(tmp_path / "in.onnx")
    assert found["output"]["size_ratio"] < 0.5
    assert found["output"]["parameters"] == found["input"]["parameters"] == sum(w.size for w in WEIGHTS.values())
    assert found["output"]["nonzeros"] == found["input"]["nonzeros"]
    assert cli(["inspect", str(tmp_path / "out.onnx"), "--json"]) == 0
