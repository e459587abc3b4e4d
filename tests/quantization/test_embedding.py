"""Embedding tables as int8 rows, in onnxruntime against numpy."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.model.save import serialize
from compressctl.model.verify import verify_graph
from compressctl.quantization.int8.dynamic import candidates, quantize
from compressctl.quantization.int8.embedding import saved_bytes
from compressctl.quantization.int8.weights import quantize_weight
from tests import graphs
from tests.quantization import reference


def table(rows: int = 50, columns: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    norms = np.exp(rng.standard_normal((rows, 1)) * 2)  # rows of very different size
    return (rng.standard_normal((rows, columns)) * norms).astype(np.float32)


def lookup(t: np.ndarray, shape: str = "a, b", out: str | None = None, attributes: str = "") -> ir.Model:
    out = out or f"{shape}, {t.shape[1]}".lstrip(", ")
    indices = f"int64[{shape}] i" if shape else "int64 i"
    return graphs.model(f"y = Gather{attributes} (t, i)", {"t": t}, indices, f"float[{out}] y")


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 99))
def test_rows_come_out_as_integers_times_their_scale(rows, columns, shape, seed):
    t = table(rows, columns, seed)
    model = lookup(t, ", ".join("abc"[: len(shape)]))
    quantize(model, list(model.graph))
    verify_graph(model, where="test")
    indices = np.random.default_rng(seed).integers(-rows, rows, tuple(shape))
    values, scale = quantize_weight(t, "rows")
    expected = (values.astype(np.float32) * scale[:, np.newaxis])[indices]
    for optimize in (False, True):
        (y,) = reference.run(model, {"i": indices}, optimize=optimize)
        np.testing.assert_array_equal(y, expected)
        assert np.all(np.abs(y - t[indices]) <= np.abs(t[indices]).max(axis=-1, keepdims=True) / 250)


def test_the_float_table_is_gone_and_nothing_but_the_looked_up_rows_is_made_float():
    model = lookup(table())
    quantize(model, list(model.graph))
    assert [node.op_type for node in model.graph] == ["Gather", "Cast", "Gather", "Mul"]
    assert {v.name: (v.dtype.name, v.shape.numpy()) for v in model.graph.initializers.values()} == {
        "t_int8": ("INT8", (50, 16)),
        "t_scale": ("FLOAT", (50, 1)),
    }
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_two_lookups_share_a_table_and_a_float_user_keeps_it():
    t, i = table(), np.array([3, 1, 3])
    body = "y = Gather(t, i) z = Gather(t, i) u = Transpose<perm = [1, 0]>(t) p = MatMul(y, u)"
    y = "float[a, 16]"
    model = graphs.model(body, {"t": t}, "int64[a] i", f"{y} y, {y} z, float[16, 50] u, float[a, 50] p")
    assert [reason for _, reason in candidates(model)] == [None, None, None]
    notes = quantize(model, [node for node in model.graph if node.op_type == "Gather"])
    assert sum(value.dtype == ir.DataType.INT8 for value in model.graph.initializers.values()) == 1
    assert [(note.kind, note.node) for note in notes if note.kind == "warning"] == [("warning", "t")]
    y_, z, u, p = reference.run(model, {"i": i})
    np.testing.assert_array_equal(y_, z)
    np.testing.assert_array_equal(u, t.T)
    np.testing.assert_allclose(p, y_ @ t.T, rtol=1e-4, atol=1e-4 * np.abs(p).max())


@pytest.mark.parametrize(("rows", "columns"), [(50, 16), (2, 384), (1, 1), (3, 40), (1000, 1), (30, 30)])
def test_saved_bytes_is_what_the_file_loses(tmp_path, rows, columns):
    model = lookup(table(rows, columns))
    (node,) = model.graph
    before, promised = len(serialize(model, tmp_path)), saved_bytes(node)
    ((_, reason),) = candidates(model)
    assert reason == (None if promised > 0 else f"its INT8 form would be {-promised} bytes larger")
    quantize(model, [node])
    assert abs(before - len(serialize(model, tmp_path)) - promised) <= 2


def test_what_is_no_table_of_rows_says_why():
    assert "axis 1 of 2" in candidates(lookup(table(), "a", "50, a", "<axis = 1>"))[0][1]
    assert candidates(lookup(table(), "a", "50, a", "<axis = -2>"))[0][1] is None
    cube = np.zeros((4, 5, 6), np.float32)
    assert "axis 0 of 3" in candidates(lookup(cube, "a", "a, 5, 6"))[0][1]
    half = graphs.model("y = Gather(t, i)", {"t": np.zeros((4, 5), np.float16)}, "int64[a] i", "float16[a, 5] y")
    assert "float16" in candidates(half)[0][1]


def test_lookups_of_shapes_and_integers_are_no_embeddings():
    body = "s = Shape(x) d = Gather(s, zero) e = Gather(numbers, i) f = Gather(vector, i) y = Add(e, d)"
    arrays = {"zero": np.array(0), "numbers": np.ones((5, 3), np.int64), "vector": np.ones(5, np.float32)}
    model = graphs.model(body, arrays, "float[a, 4] x, int64[b] i", "int64[b, 3] y, float[b] f")
    assert candidates(model) == []
