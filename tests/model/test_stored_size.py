"""Sizes of models whose weights are stored packed: parameters are those of the dense model, bytes those of the file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.errors import ModelError
from compressctl.model.load import load_model
from compressctl.model.save import save_model
from compressctl.model.size import ModelSize, count
from compressctl.model.stored import evaluate, is_packed, made_tensors
from compressctl.storage.affine import Affine, emit_affine
from compressctl.storage.choice import forms, place
from compressctl.storage.decoder import Decoder
from compressctl.storage.survey import survey
from tests.graphs import parsed
from tests.model.texts import CNN, cnn_weights


def by_layer(size: ModelSize) -> dict[str, tuple[int, int]]:
    return {row.node: (row.parameters, row.nonzeros) for row in size.by_layer if row.parameters}


def sparse_cnn() -> ir.Model:
    weights = cnn_weights()
    rng = np.random.default_rng(0)
    few = rng.standard_normal(7).astype(np.float32)
    for name in ("kernel", "weight"):
        kept = rng.random(weights[name].shape) < 0.3
        weights[name] = np.where(kept, few[rng.integers(0, 7, kept.shape)], 0).astype(np.float32)
    return parsed(CNN, **weights)


@pytest.mark.parametrize("format_", ["codebook", "bitmask", "delta-index", "csr", "coo"])
def test_parameters_are_those_of_the_dense_model(format_: str, tmp_path: Path) -> None:
    model = sparse_cnn()
    dense = count(model)
    for name in ("kernel", "weight"):
        value = model.graph.initializers[name]
        assert value.const_value is not None
        seen = survey(value.const_value.numpy())
        place(model.graph, value, forms(model.graph, name, seen)[format_], seen)
    save_model(model, tmp_path / "m.onnx", overwrite=False)
    for stored in (model, load_model(tmp_path / "m.onnx").model):
        size = count(stored)
        assert (size.parameters, size.nonzeros, size.macs) == (dense.parameters, dense.nonzeros, dense.macs)
        assert by_layer(size) == by_layer(dense)
    held = sum(row.bytes for row in size.by_layer)
    assert held < (tmp_path / "m.onnx").stat().st_size
    kernel = np.count_nonzero(sparse_cnn().graph.initializers["kernel"].const_value.numpy())  # type: ignore[union-attr]
    if format_ == "coo":
        row = next(row for row in size.by_layer if row.op == "Conv")
        assert row.bytes == kernel * 12 + 16 * 4  # with the bias


def _affine(**options: Any) -> tuple[ir.Model, np.ndarray]:
    codes = np.random.default_rng(0).integers(0, 3, (6, 4, 5)).astype(np.uint8)
    scale = np.random.default_rng(1).uniform(1, 2, (6, 4, 1)).astype(np.float16)
    weight = Affine(codes, 3, -1, scale, (6, 20), **options)
    text = "m (float[2, 6] x) => (float[2, 20] y) { [fc] y = MatMul (x, w) }"
    model = parsed(text, w=np.zeros((6, 20), np.float32))
    decoder = Decoder(model.graph, "w")
    decoder.replace(model.graph.initializers["w"], emit_affine(decoder, weight))
    return model, weight.floats()


def test_scales_of_packed_weights_are_no_parameters() -> None:
    model, floats = _affine()
    assert by_layer(count(model)) == {"fc": (120, np.count_nonzero(floats))}
    held = sum(value.const_value.nbytes for value in model.graph.initializers.values())  # type: ignore[union-attr]
    assert {row.node: row.bytes for row in count(model).by_layer}["fc"] == held


def test_packed_tensors_are_evaluated_bit_for_bit() -> None:
    model, floats = _affine(offset=np.random.default_rng(2).normal(size=(6, 4, 1)).astype(np.float32))
    (made,) = made_tensors(model.graph)
    assert is_packed(made)
    np.testing.assert_array_equal(evaluate(made), floats)


def test_packed_integers_behind_their_scale_count_by_their_zero_point() -> None:
    text = """m (float[1, 4] x) => (float[1, 3] y) {
        [c] i = Cast <to = 6> (packed)
        [g] q = Gather (table, i)
        [dq] w = DequantizeLinear (q, scale, zero)
        [fc] y = MatMul (x, w)
    }"""
    codes = np.arange(12, dtype=np.uint8).reshape(4, 3) % 4
    table = np.array([-7, 3, 5, 0], np.int8)
    model = parsed(text, packed=codes, table=table, scale=np.float32(0.5), zero=np.int8(3))
    assert by_layer(count(model)) == {"fc": (12, int((table[codes] != 3).sum()))}


def test_rearranged_weights_are_not_packed_and_shapes_are_no_parameters() -> None:
    text = """m (float[2, 3] x) => (float[2, 5] y) {
        [t] w = Transpose (v)
        [s] shape = Concat <axis = 0> (two, five)
        [z] zeros = ConstantOfShape (shape)
        [fc] p = MatMul (x, w)
        [add] y = Add (p, zeros)
    }"""
    model = parsed(text, v=np.ones((5, 3), np.float32), two=np.array([2]), five=np.array([5]))
    assert by_layer(count(model)) == {"fc": (15, 15)}
    assert [value.name for value in made_tensors(model.graph) if is_packed(value)] == []


def test_what_cannot_be_evaluated_is_named() -> None:
    text = "m (float[2] x) => (float[2] y) { [pick] w = Gather (v, i) y = Add (x, w) }"
    model = parsed(text, v=np.ones(3, np.float32), i=np.array([1, 7]))
    with pytest.raises(ModelError, match="'pick'"):
        count(model)


@pytest.mark.parametrize("columns", [8, 7])
def test_embeddings_that_are_unpacked_row_by_row_count_their_elements(columns: int) -> None:
    text = f"""m (int64[N] ids) => (float[N, {columns}] y) {{
        [others] n = Shape (ids)
        [rows] p = Gather (packed, ids)
        [cast] i = Cast <to = 6> (p)
        [digits] d = Gather (table, i)
        [flat] f = Reshape (d, shape)
        [cut] c = Slice (f, zero, columns, one)
        [float] g = Cast <to = 1> (c)
        [scales] s = Gather (scale, ids)
        [scaled] y = Mul (g, s)
    }}"""
    table = np.stack([np.arange(256) % 16, np.arange(256) // 16], 1).astype(np.int8)
    arrays: dict[str, Any] = {"packed": np.ones((30, 4), np.uint8), "table": table, "shape": np.array([0, 8])}
    arrays |= {"zero": np.array([0]), "columns": np.array([columns]), "one": np.array([1])}
    model = parsed(text, **arrays, scale=np.ones((30, 1), np.float32))
    assert by_layer(count(model)) == {"rows": (30 * columns, 30 * columns)}
