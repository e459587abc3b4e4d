"""Fused attention of language models and the operators of detectors, cut and masked, in onnxruntime."""

import numpy as np
import pytest
from halving import halved

from tests import graphs

W, HEADS, KV, SIZE = 16, 4, 2, 16
PROJECTIONS = {"apart": ("q", "k", "v"), "packed": ("qkv",)}
SHAPES = {"q": (W, HEADS * SIZE), "k": (W, KV * SIZE), "v": (W, KV * SIZE), "qkv": (W, (HEADS + 2 * KV) * SIZE)}


def _decoder(form: str, past: bool):
    """A block as onnxruntime's optimizer leaves it: the sum before a norm is an output of the norm."""
    names = PROJECTIONS[form]
    products = " ".join(f"{name} = MatMul (n, w{name})" for name in names)
    key, value = ("k", "v") if form == "apart" else ("", "")
    states = "pk, pv" if past else ", "
    made = ", present_k, present_v" if past else ""
    rng = graphs.Random(0)
    arrays = {f"w{name}": rng(*SHAPES[name]) / np.float32(4) for name in names}
    arrays |= {"wo": rng(HEADS * SIZE, W), "up": rng(W, 32), "down": rng(32, W), "g": 1 + 0.1 * rng(W)}
    arrays |= {"cos": np.cos(rng(16, SIZE // 2)), "sin": np.sin(rng(16, SIZE // 2))}
    body = f"""[ln] n = LayerNormalization (x, g) {products}
        [gqa] a{made} = com.microsoft.GroupQueryAttention <num_heads = {HEADS}, kv_num_heads = {KV}, do_rotary = 1>
            ({names[0]}, {key}, {value}, {states}, lengths, total, cos, sin)
        [o] p = MatMul (a, wo) [skip] m, , , s = com.microsoft.SkipSimplifiedLayerNormalization (p, x, g)
        [up] h = MatMul (m, up) r = Sigmoid (h) [down] d = MatMul (r, down) y = Add (d, s)"""
    ends = f"float[b, {KV}, p, {SIZE}] pk, float[b, {KV}, p, {SIZE}] pv" if past else ""
    outs = f", float[b, {KV}, t, {SIZE}] present_k, float[b, {KV}, t, {SIZE}] present_v" if past else ""
    text = f"""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[b, s, {W}] x, int32[b] lengths, int32 total{", " + ends if past else ""})
        => (float[b, s, {W}] y{outs}) {{ {body} }}"""
    model = graphs.parsed(text, **arrays)
    for index, node in enumerate(model.graph):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


def _feeds(past: bool):
    x = graphs.Random(1)
    length, before = 5, 3 if past else 0
    total = np.int32(length + before)
    feeds = {"x": x(1, length, W), "lengths": np.full(1, total - 1, np.int32), "total": np.array(total)}
    states = {name: x(1, KV, before, SIZE) for name in ("pk", "pv")} if past else {}
    return [feeds | states]


@pytest.mark.parametrize("form", PROJECTIONS)
def test_key_and_value_heads_go_with_their_queries(form: str) -> None:
    groups, removed, error = halved(_decoder(form, past=False), _feeds(past=False))
    heads = next(group for group in groups if group.kind == "head")
    assert heads.size == KV and not heads.fixed.any()
    assert {"up", heads.name} <= removed.keys() and error < 1e-4


@pytest.mark.parametrize("form", PROJECTIONS)
def test_heads_whose_states_are_inputs_stay_and_neurons_go(form: str) -> None:
    groups, removed, error = halved(_decoder(form, past=True), _feeds(past=True))
    assert all(group.fixed.all() for group in groups if group.kind == "head")
    assert removed.keys() == {"up"} and error < 1e-4


def test_a_detector_in_two_stages_is_cut_on_both_sides_of_its_choice() -> None:
    r = graphs.Random(0)
    arrays = {"k": r(8, 3, 3, 3), "kb": r(4, 8, 1, 1), "ks": r(1, 8, 1, 1), "a": r(8 * 4, 24), "b": r(24, 5)}
    arrays |= {"most": np.array([4]), "iou": np.array([0.9], np.float32), "least": np.array([-9], np.float32)}
    arrays |= {"two": np.array([2]), "zero": np.array([0]), "wide": np.array([0, 32]), "flat": np.array([1, 4, -1])}
    arrays |= {"five": np.array(5, np.float32), "one": np.array([1]), "scores": np.array([1, 1, -1])}
    body = """[back] f = Conv <pads = [1, 1, 1, 1]> (x, k) h = Relu (f)
        [boxes] bm = Conv (h, kb) bf = Reshape (bm, flat) bl = Transpose <perm = [0, 2, 1]> (bf)
        bg = Sigmoid (bl) bt = Mul (bg, five)
        [scored] sm = Conv (h, ks) sf = Reshape (sm, scores)
        chosen = NonMaxSuppression (bt, sf, most, iou, least)
        index = Gather <axis = 1> (chosen, two) flat_index = Squeeze (index, one)
        all = Squeeze (bt, zero) picked = Gather (all, flat_index)
        image = Mul (flat_index, zero)
        regions = RoiAlign <output_height = 2, output_width = 2, sampling_ratio = 2> (h, picked, image)
        flattened = Flatten (regions) [box] hidden = MatMul (flattened, a) act = Relu (hidden) y = MatMul (act, b)"""
    model = graphs.model(body, arrays, "float[1, 3, 6, 6] x", "float[m, 5] y")
    _, removed, error = halved(model, [{"x": graphs.Random(3)(1, 3, 6, 6)}])
    assert {"back", "box"} <= removed.keys() and error < 1e-4
