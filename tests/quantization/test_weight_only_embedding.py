"""Embedding tables that stay packed, in onnxruntime against numpy."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compressctl.numerics.grids import INT4
from compressctl.numerics.levels import fit_levels
from tests import graphs
from tests.quantization import reference
from tests.quantization.weight_only import SCHEMES, compress, symmetric, texts, weights


def lookup(table, shape="a, b", body="y = Gather (t, i)"):
    out = f"{shape}, {table.shape[1]}".lstrip(", ")
    indices = f"int64[{shape}] i" if shape else "int64 i"
    return graphs.model(body, {"t": table}, indices, f"float[{out}] y", 13)


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("columns", [64, 50])  # 50: the last byte of a row is filled up
@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_are_integers_times_their_scale(tmp_path, scheme, columns, optimize):
    table = weights(300, columns)
    model = lookup(table)
    compress(model, scheme, tmp_path, group_size="channel", symmetric=True)
    indices = np.array([[0, 299, -1], [7, 7, -300]])
    (found,) = reference.run(model, {"i": indices}, optimize=optimize)
    np.testing.assert_array_equal(found, symmetric(table, scheme)[indices])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3), max_size=3), st.integers(0, 99))
def test_indices_may_have_any_shape(tmp_path, shape, seed):
    table = weights(200, 96, seed=seed)
    model = lookup(table, ", ".join("abc"[: len(shape)]))
    compress(model, "int4", tmp_path, group_size=32)
    levels = fit_levels(table.reshape(-1, 32), INT4, offset=True)
    expected = levels.values(levels.codes(table.reshape(-1, 32))).reshape(table.shape)
    indices = np.random.default_rng(seed).integers(-200, 200, tuple(shape))
    (found,) = reference.run(model, {"i": indices})
    np.testing.assert_array_equal(found, expected[indices])


def test_the_table_stays_packed_as_the_model_runs(tmp_path):
    model = lookup(weights(300, 64))
    compress(model, "int4", tmp_path)
    assert reference.executed(model, tmp_path)["Gather"] == 4  # bytes, what they mean, scales, offsets
    assert max(value.const_value.nbytes for value in model.graph.initializers.values()) == 300 * 32


def test_lookups_of_one_table_share_it(tmp_path):
    body = "y = Gather(t, i) z = Gather(t, j)"
    model = graphs.model(body, {"t": weights(300, 64)}, "int64[a] i, int64[b] j", "float[a, 64] y, float[b, 64] z")
    compress(model, "int4", tmp_path)
    assert [v.name for v in model.graph.initializers.values() if v.const_value.nbytes >= 300 * 32] == ["t_packed"]
    y, z = reference.run(model, {"i": np.array([3, 4]), "j": np.array([4, 3])})
    np.testing.assert_array_equal(y, z[::-1])


@pytest.mark.parametrize("last", ["MatMul(e, w)", "Gemm<transB = 1>(e, t)"])
def test_a_table_that_is_the_last_layer_too_is_stored_once_and_made_float_at_load(tmp_path, last):
    table = weights(300, 64)
    body = f"e = Gather(t, i) w = Transpose<perm = [1, 0]>(t) y = {last}"
    model = graphs.model(body, {"t": table}, "int64[a] i", "float[a, 300] y, float[64, 300] w")
    compress(model, "int4", tmp_path, group_size="channel", symmetric=True)
    rounded = symmetric(table, "int4")
    y, w = reference.run(model, {"i": np.array([5])})
    np.testing.assert_array_equal(w, rounded.T)
    np.testing.assert_allclose(y, rounded[[5]] @ rounded.T, rtol=1e-5, atol=1e-4)
    assert sum(v.const_value.nbytes for v in model.graph.initializers.values()) < table.nbytes / 6
    assert reference.executed(model, tmp_path)["Gather"] == 1


def test_tables_may_be_left_alone(tmp_path):
    model = lookup(weights(300, 64))
    outcome = compress(model, "int4", tmp_path, embeddings=False)
    assert [node.op_type for node in model.graph] == ["Gather"] and "nothing was stored" in texts(outcome)


def test_what_is_no_row_of_a_matrix_is_said(tmp_path):
    table = weights(64, 300)
    model = graphs.model("y = Gather<axis = 1>(t, i)", {"t": table}, "int64[a] i", "float[64, a] y")
    assert "something else than the rows" in texts(compress(model, "int4", tmp_path))
