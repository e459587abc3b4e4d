"""Nodes without effect go; Transposes, Reshapes and Slices in a row become one or none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import ints, parse, rand, rewrite

from compressctl.model.ops import ACTIVATIONS, MATHEMATICAL
from compressctl.simplification.rules import apply_rules

WITHOUT_EFFECT = {
    "Identity": ("Identity(a)", {}),
    "Dropout": ("Dropout(a)", {}),
    "Dropout, not training": ("Dropout(a, r, t)", {"r": np.array(0.5, np.float32), "t": np.array(False)}),
    "Cast": ("Cast <to = 1> (a)", {}),
    "CastLike": ("CastLike(a, x)", {}),
    "Reshape": ("Reshape(a, s)", {"s": ints(0, 4, 6)}),
    "Reshape, inferred": ("Reshape(a, s)", {"s": ints(-1, 4, 6)}),
    "Transpose": ("Transpose <perm = [0,1,2]> (a)", {}),
    "Slice": ("Slice(a, s, e)", {"s": ints(0, 0), "e": ints(2**63 - 1, 4)}),
    "Slice, axes and steps": ("Slice(a, s, e, x1, d)", {"s": ints(0), "e": ints(6), "x1": ints(-1), "d": ints(1)}),
    "Pad": ("Pad(a, p)", {"p": ints(0, 0, 0, 0, 0, 0)}),
    "Tile": ("Tile(a, r)", {"r": ints(1, 1, 1)}),
    "Expand": ("Expand(a, s)", {"s": ints(1, 4, 6)}),
    "Concat": ("Concat <axis = 1> (a)", {}),
    "Sum": ("Sum(a)", {}),
    "Max": ("Max(a)", {}),
    "Add 0": ("Add(a, v)", {"v": np.zeros((), np.float32)}),
    "Add 0, first": ("Add(v, a)", {"v": np.zeros((1, 1), np.float32)}),
    "Sub 0": ("Sub(a, v)", {"v": np.zeros((1, 1, 1), np.float32)}),
    "Mul 1": ("Mul(a, v)", {"v": np.ones(1, np.float32)}),
    "Div 1": ("Div(a, v)", {"v": np.ones(1, np.float32)}),
    "Pow 1": ("Pow(a, v)", {"v": np.ones(1, np.float32)}),
}


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
@pytest.mark.parametrize("last", [False, True])
def test_nodes_without_effect_are_removed(case: str, last: bool) -> None:
    node, weights = WITHOUT_EFFECT[case]
    end = f"y = {node}" if last else f"b = {node} y = Sigmoid(b)"
    result = rewrite(f"(float[batch,4,6] x) => (float[batch,4,6] y) {{ a = Relu(x) {end} }}", **weights)
    assert result.ops == ({"Relu": 1} if last else {"Relu": 1, "Sigmoid": 1})
    assert result.weights == {}


WITH_EFFECT = {
    "Dropout, training": ("Dropout(a, r, t)", {"r": np.array(0.0, np.float32), "t": np.array(True)}),
    "Reshape of equal size": ("Reshape(a, s)", {"s": ints(0, 6, 4)}),
    "Slice backwards": ("Slice(a, s, e, x1, d)", {"s": ints(-1), "e": ints(-99), "x1": ints(2), "d": ints(-1)}),
    "Slice that may cut": ("Slice(a, s, e)", {"s": ints(0), "e": ints(2)}),
    "Slice from 1": ("Slice(a, s, e, x1)", {"s": ints(1), "e": ints(99), "x1": ints(1)}),
    "Add 0 that broadcasts": ("Add(a, v)", {"v": np.zeros((2, 1, 4, 6), np.float32)}),
    "Mul by a weight of ones": ("Mul(a, v)", {"v": np.ones(6, np.float32)}),
    "Mul 1 of higher rank": ("Mul(a, v)", {"v": np.ones((1, 1, 1, 1), np.float32)}),
    "Sub from 0": ("Sub(v, a)", {"v": np.zeros(1, np.float32)}),
    "Div of 1": ("Div(v, a1)", {"v": np.ones(1, np.float32)}),
    "Add of almost 0": ("Add(a, v)", {"v": np.array([0, 0, 0, 0, 0, 1e-3], np.float32)}),
    "Cast": ("Cast <to = 11> (a)", {}),
    "Concat of two": ("Concat <axis = 1> (a, a)", {}),
}


@pytest.mark.parametrize("case", WITH_EFFECT)
def test_nodes_with_effect_stay(case: str) -> None:
    node, weights = WITH_EFFECT[case]
    kind = "double" if case == "Cast" else "float"
    text = f"(float[batch,4,6] x) => ({kind}[n,m,...] y) {{ a = Relu(x) a1 = Exp(a) y = {node} }}".replace(",...", ",k")
    if "rank" in case or "broadcasts" in case:
        text = text.replace("[n,m,k]", "[l,n,m,k]")
    assert node.split("(")[0].split(" ")[0] in rewrite(text, **weights).ops


def test_identity_between_input_and_output_stays() -> None:
    assert rewrite("(float[batch,4] x) => (float[batch,4] y) { y = Identity(x) }").ops == {"Identity": 1}
    text = "(float[batch,4] x) => (float[batch,4] y, float[batch,4] z) { y = Relu(x) z = Identity(y) }"
    assert rewrite(text).ops == {"Relu": 1, "Identity": 1}


def test_castlike_to_a_known_type_is_a_cast_that_folds() -> None:
    text = """(float[batch,4] x) => (float[batch,4] y)
    { a = CastLike(v, x) b = Exp(x) c = CastLike(b, v) d = Cast <to = 1> (c) y = Sub(a, d) }"""
    result = rewrite(text, v=np.array(2.0))
    assert result.ops == {"Exp": 1, "Cast": 2, "Sub": 1}


def test_a_scalar_output_keeps_its_shape() -> None:
    text = "(float[batch,4] x) => (float y) { a = ReduceSum <keepdims = 0> (x) b = Abs(a) y = Identity(b) }"
    assert rewrite(text).ops == {"ReduceSum": 1, "Abs": 1}


def test_mask_of_dropout_in_use_keeps_it() -> None:
    text = (
        "(float[batch,4] x) => (float[batch,4] y) { d, m = Dropout(x) n = Not(m) f = Cast <to = 1> (n) y = Add(d, f) }"
    )
    assert "Dropout" in rewrite(text).ops


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.permutations(range(4)))
def test_transposes_are_composed(first: list[int], second: list[int]) -> None:
    text = f"""(float[2,3,4,5] x) => (float[a,b,c,d] y)
    {{ a = Relu(x) t = Transpose <perm = {first}> (a) u = Transpose <perm = {second}> (t) y = Sigmoid(u) }}"""
    ops = rewrite(text).ops
    assert ops.get("Transpose", 0) == (0 if [first[axis] for axis in second] == [0, 1, 2, 3] else 1)


# Those of opset 17 that are defined behind a Sigmoid, and that no other rule takes apart.
ELEMENT_WISE = sorted(
    (MATHEMATICAL | ACTIVATIONS) - {"Acosh", "Atanh", "Gelu", "HardSwish", "Mish", "Sigmoid", "Swish"}
)


def nhwc(middle: str, channels: int = 4) -> str:
    return f"""(float[batch,6,6,4] x) => (float[batch,h,w,{channels}] y)
    {{ a = Transpose <perm = [0,3,1,2]> (x) c = Conv <pads = [1,1,1,1]> (a, w) t = Transpose <perm = [0,2,3,1]> (c)
       {middle}
       v = Transpose <perm = [0,3,1,2]> (u) d = Conv (v, w2) y = Transpose <perm = [0,2,3,1]> (d) }}"""


@pytest.mark.parametrize(
    ("middle", "left"),
    [
        ("u = Relu(t)", {"Relu": 1}),
        ("r = Add(t, b) s = Clip(r, zero, six) u = Sigmoid(s)", {"Clip": 1, "Sigmoid": 1}),
        ("r = Mul(b, t) s = Sub(r, k) q = Relu(s) u = Add(q, t)", {"Mul": 1, "Sub": 1, "Relu": 1, "Add": 1}),
        ("s = Sigmoid(t) u = Mul(s, t)", {"Sigmoid": 1, "Mul": 1}),
        ("r = Relu(t) u = Pad(r, p)", {"Relu": 1}),
        ("r = Relu(t) q = Sigmoid(t) u = Add(r, q)", {"Relu": 1, "Sigmoid": 1, "Add": 1}),
        ("u = PRelu(t, b)", {"PRelu": 1}),
        ("g = Greater(t, b) u = Where(g, t, k)", {"Greater": 1, "Where": 1}),
        *((f"s = Sigmoid(t) u = {op}(s)", {"Sigmoid": 1, op: 1}) for op in ELEMENT_WISE),
    ],
)
def test_pairs_of_transposes_around_convolutions_go(middle: str, left: dict[str, int]) -> None:
    constants = {
        "b": rand(4),
        "k": rand(1, 1, 4),
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
        "p": ints(0, 1, 0, 0, 0, 2, 1, 0),
    }
    result = rewrite(nhwc(middle), w=rand(4, 4, 3, 3), w2=rand(4, 4, 3, 3, seed=1), **constants)
    assert result.ops == {"Transpose": 2, "Conv": 2, **left}


def test_transposes_meet_in_a_concat() -> None:
    middle = "r = Relu(t) q = Sigmoid(t) u = Concat <axis = 3> (r, q)"
    result = rewrite(nhwc(middle), w=rand(4, 4, 3, 3), w2=rand(4, 8, 3, 3))
    assert result.ops == {"Transpose": 2, "Conv": 2, "Relu": 1, "Sigmoid": 1, "Concat": 1}
    assert result.node("u").attributes.get_int("axis") == 1


def test_a_transpose_without_an_inverse_stays_where_it_is() -> None:
    """As in attention: moving it would gain nothing."""
    text = """(float[batch,seq,3,4] q) => (float[batch,3,n,seq] y)
    { t = Transpose <perm = [0,2,3,1]> (q) s = Mul(t, k) y = Softmax(s) }"""
    result = rewrite(text, k=rand(1))
    assert [node.op_type for node in result.model.graph] == ["Transpose", "Mul", "Softmax"]


@pytest.mark.parametrize(
    ("nodes", "ops"),
    [
        ("a = Reshape(x, s1) b = Reshape(a, s2)", {"Reshape": 1}),
        ("a = Reshape(x, s1) b = Reshape(a, s3)", {}),
        ("a = Unsqueeze(x, two) b = Squeeze(a, two)", {}),
        ("a = Unsqueeze(x, two) b = Reshape(a, s2)", {"Reshape": 1}),
        ("a = Reshape(x, s1) b = Flatten(a)", {"Flatten": 1}),
        ("a = Flatten(x) b = Reshape(a, s3)", {}),
        ("a = Unsqueeze(x, two) t = Transpose <perm = [0,2,1,3,4]> (a) b = Reshape(t, s2)", {"Reshape": 1}),
        ("a = Unsqueeze(x, two) b = Unsqueeze(a, two)", {"Unsqueeze": 2}),
    ],
)
def test_views_in_a_row(nodes: str, ops: dict[str, int]) -> None:
    text = f"(float[batch,4,2,3] x0) => (float[n,...] y) {{ x = Relu(x0) {nodes} y = Sigmoid(b) }}"
    rank = {"Reshape": 3, "Flatten": 2, "Unsqueeze": 6}[next(iter(ops))] if ops else 4
    dims = ",".join(f"d{i}" for i in range(rank))
    targets = {"s1": ints(0, 2, 12), "s2": ints(0, 3, 8), "s3": ints(-1, 4, 2, 3), "two": ints(2)}
    result = rewrite(text.replace("n,...", dims), **targets)
    assert result.ops == {"Relu": 1, "Sigmoid": 1, **ops}


def test_a_transpose_that_moves_data_is_no_view() -> None:
    text = "(float[batch,4,2] x) => (float[batch,8] y) { t = Transpose <perm = [0,2,1]> (x) y = Reshape(t, s) }"
    assert rewrite(text, s=ints(0, 8)).ops["Transpose"] == 1


def test_reshape_with_other_users_stays() -> None:
    text = """(float[batch,4,2] x) => (float[batch,8] y, float[batch,2,4] z)
    { a = Reshape(x, s) z = Relu(a) y = Reshape(a, t) }"""
    assert rewrite(text, s=ints(0, 2, 4), t=ints(0, 8)).ops == {"Reshape": 1, "Relu": 1, "Flatten": 1}


def test_slices_of_different_axes_become_one() -> None:
    text = "(float[batch,4,9,9] x) => (float[batch,4,h,w] y) { a = Slice(x, s, e, a2, d) y = Slice(a, s, e, a3, d) }"
    parameters = {"s": ints(1), "e": ints(2**63 - 1), "a2": ints(2), "d": ints(2)}
    assert rewrite(text, a3=ints(-1), **parameters).ops == {"Slice": 1}
    assert rewrite(text, a3=ints(-2), **parameters).ops == {"Slice": 2}


@pytest.mark.parametrize(
    ("height", "mode", "ops"),
    [
        (16, "nearest", {"Resize": 1, "Sigmoid": 1}),
        (4, "linear", {"Resize": 1, "Sigmoid": 1}),
        (12, "cubic", {"Resize": 1, "Sigmoid": 1}),
        (11, "linear", {"Resize": 1, "Sigmoid": 1}),
    ],
)
def test_resize_to_the_shape_of_another_tensor(height: int, mode: str, ops: dict[str, int]) -> None:
    text = f"""(float[batch,4,8,8] x, float[batch,2,{height},8] z) => (float[batch,4,{height},8] y)
    {{ b = Shape <start = 0, end = 1> (x) s = Shape <start = 2> (z) t = Concat <axis = 0> (b, four, s)
       r = Resize <mode = "{mode}"> (x, , , t) y = Sigmoid(r) }}"""
    result = rewrite(text, four=ints(4))
    assert result.ops == ops
    np.testing.assert_array_equal(result.weights["r_scales"], np.array([1, 1, height / 8, 1], np.float32))


def test_resize_by_a_ratio_that_rounds_stays() -> None:
    text = """(float[batch,4,7,7] x) => (float[batch,4,3,3] y)
    { b = Shape <start = 0, end = 1> (x) t = Concat <axis = 0> (b, rest) y = Resize <mode = "linear"> (x, , , t) }"""
    assert rewrite(text, rest=ints(4, 3, 3)).ops == {"Shape": 1, "Concat": 1, "Resize": 1}


@pytest.mark.parametrize("split", [np.array(3, np.int64), ints(3, 3, 1)])
def test_parts_of_a_sequence(split: np.ndarray) -> None:
    text = """(float[batch,7] x) => (float[batch,3] y, float[batch,1] z)
    { s = SplitToSequence <axis = 1> (x, n) a = SequenceAt(s, i0) b = SequenceAt(s, i1) z = SequenceAt(s, last)
      y = Mul(a, b) }"""
    positions = {"i0": np.array(0, np.int64), "i1": np.array(1, np.int64), "last": np.array(-1, np.int64)}
    assert rewrite(text, n=split, **positions).ops == {"Split": 1, "Mul": 1}


def test_a_sequence_that_is_picked_by_a_number_at_run_time_stays() -> None:
    text = """(float[batch,6] x, int64[1] i) => (float[batch,3] y)
    { s = SplitToSequence <axis = 1> (x, n) j = Squeeze(i) y = SequenceAt(s, j) }"""
    model = parse(text, n=np.array(3, np.int64))
    apply_rules(model)
    assert model.graph[0].op_type == "SplitToSequence"
