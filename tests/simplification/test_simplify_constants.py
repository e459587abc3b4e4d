"""Constants are folded, duplicates merged, shape arithmetic made constant; compressed weights stay compressed."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from rewriting import ints, parse, rand, rewrite

from compressctl.measure.session import Session
from compressctl.simplification.facts import Facts
from compressctl.simplification.rules import apply_rules
from compressctl.simplification.shape_arithmetic import reshape_target


def test_constant_nodes_become_initializers_of_the_same_name() -> None:
    nodes = "{ k = Constant <value_floats = [1.5, 2.0, 3.0, 4.0]> () y = Mul(x, k) }"
    result = rewrite("(float[batch,4] x) => (float[batch,4] y) " + nodes)
    assert result.ops == {"Mul": 1}
    np.testing.assert_array_equal(result.weights["k"], [1.5, 2, 3, 4])


def test_a_chain_of_constants_is_evaluated() -> None:
    text = """(float[batch,4] x) => (float[batch,4] y)
    { a = Constant <value_float = 2.0> () b = Exp(a) c = Sqrt(v) d = Mul(b, c) y = Add(x, d) }"""
    result = rewrite(text, v=rand(4, low=1))
    assert result.ops == {"Add": 1}
    np.testing.assert_allclose(next(iter(result.weights.values())), np.exp(2) * np.sqrt(rand(4, low=1)), rtol=1e-6)


def test_a_rearranged_weight_keeps_its_name() -> None:
    result = rewrite("(float[batch,5] x) => (float[batch,6] y) { t = Transpose(w) y = MatMul(x, t) }", w=rand(6, 5))
    assert result.ops == {"MatMul": 1}
    np.testing.assert_array_equal(result.weights["w"], rand(6, 5).T)


def test_a_weight_that_others_read_is_not_copied_where_the_file_would_grow() -> None:
    text = """(float[batch,40] x, int64[batch] i) => (float[batch,50] y, float[batch,40] z)
    { t = Transpose(w) y = MatMul(x, t) z = Gather(w, i) }"""
    assert rewrite(text, w=rand(50, 40)).ops["Transpose"] == 1


def test_parts_of_a_weight_in_another_order_are_one_weight() -> None:
    """Gates, as torch orders them: each part alone would not free the whole."""
    cut = "i = Slice(w, a, b) f = Slice(w, b, c) o = Slice(w, c, d) g = Concat <axis = 0> (i, o, f)"
    places = {"a": ints(0), "b": ints(20), "c": ints(60), "d": ints(80)}
    text = "(float[80,batch] x) => (float[{rows},batch] y) {{ {cut} {use} }}"
    result = rewrite(text.format(rows=80, cut=cut, use="y = MatMul(g, x)"), w=rand(80, 80), **places)
    assert result.ops == {"MatMul": 1}
    (weight,) = result.weights.values()
    np.testing.assert_array_equal(weight, rand(80, 80)[[*range(20), *range(60, 80), *range(20, 60)]])
    use = "p = MatMul(g, x) q = MatMul(w, x) y = Add(p, q)"
    assert rewrite(text.format(rows=80, cut=cut, use=use), w=rand(80, 80), **places).ops["Slice"] == 3


def test_what_a_body_makes_of_constants_moves_out_of_it() -> None:
    text = """(float[batch,5] x, bool[1] b) => (float[batch,6] y)
    { y = If(b) <then_branch = yes () => (float[batch,6] p) {
                     k = Constant <value_ints = [1, 0]> () h = Shape(k) n = Neg(w) t = Transpose(n) p = MatMul(x, t) },
                 else_branch = no () => (float[batch,6] q) { n = Abs(w) t = Transpose(n) q = MatMul(x, t) }> }"""
    result = rewrite(text, w=rand(6, 5))
    assert result.ops == {"If": 1}
    then, other = result.model.graph.subgraphs()
    assert [[node.op_type for node in body] for body in (then, other)] == [["MatMul"], ["MatMul"]]
    assert sorted(array.shape for array in result.weights.values()) == [(5, 6), (5, 6)]


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("{ f = Cast <to = 1> (q) y = Mul(x, f) }", {"q": np.arange(100, dtype=np.int8)}),
        ("{ f = Cast <to = 1> (q) y = Mul(x, f) }", {"q": rand(100, dtype=np.float16)}),
        (
            "{ f = DequantizeLinear(q, s) y = Mul(x, f) }",
            {"q": np.arange(100, dtype=np.int8), "s": np.array(0.1, np.float32)},
        ),
        (
            "{ i = Cast <to = 6> (q) f = Gather(book, i) y = Mul(x, f) }",
            {"q": np.arange(100, dtype=np.uint8) % 9, "book": rand(9)},
        ),
    ],
)
def test_weights_stored_small_are_not_decompressed(text: str, weights: dict[str, np.ndarray]) -> None:
    size = weights["q"].size
    result = rewrite(f"(float[batch,{size}] x) => (float[batch,{size}] y) {text}", **weights)
    assert len(result.model.graph) == len(result.before.graph)
    assert result.weights.keys() == weights.keys()


def test_what_grows_is_not_materialised() -> None:
    text = """(float[batch,1000] x) => (float[batch,1000] y)
    { a = ConstantOfShape <value = float[1] {2}> (n) b = Expand(s, n) c = Tile(s, n)
      d = Add(a, b) e = Add(c, d) y = Add(x, e) }"""
    result = rewrite(text, n=ints(1000), s=rand(1))
    assert result.ops == {"ConstantOfShape": 1, "Expand": 1, "Tile": 1, "Add": 3}
    assert sum(array.nbytes for array in result.weights.values()) < 100


def test_random_nodes_are_not_frozen() -> None:
    model = parse("(float[4] x) => (float[4] y) { r = RandomNormalLike(w) y = Add(x, r) }", w=rand(4))
    apply_rules(model)
    assert [node.op_type for node in model.graph] == ["RandomNormalLike", "Add"]


def test_what_onnxruntime_cannot_evaluate_stays_with_a_note() -> None:
    text = "(float[batch,4] x) => (float[batch,4] y) { a = Gather(v, i) y = Add(x, a) }"
    model = parse(text, v=rand(4), i=ints(7))  # out of range
    notes = apply_rules(model)
    assert [node.op_type for node in model.graph] == ["Gather", "Add"]
    assert [note.node for note in notes if "cannot be evaluated" in note.text] == ["a"]


def test_equal_weights_are_shared_but_not_biases() -> None:
    text = """(float[batch,4] x) => (float[batch,6] y, float[batch,6] z)
    { y = Gemm(x, w1, b1) m = Gemm(x, w2, b2) z = Sigmoid(m) }"""
    result = rewrite(text, w1=rand(4, 6), w2=rand(4, 6), b1=rand(6), b2=rand(6))
    assert set(result.weights) == {"w1", "b1", "b2"}


def test_weights_that_differ_in_the_middle_only_are_not_shared() -> None:
    a = rand(40, 60)
    b = a.copy()
    b[20, 30] += 1
    text = "(float[batch,40] x) => (float[batch,60] y) { p = MatMul(x, a) q = MatMul(x, b) y = Sub(p, q) }"
    assert set(rewrite(text, a=a, b=b).weights) == {"a", "b"}


def test_repeated_nodes_are_merged() -> None:
    text = """(float[batch,4] x) => (float[batch,4] y)
    { a = Relu(x) b = Relu(x) c = Sigmoid(a) d = Sigmoid(b)
      e = LeakyRelu <alpha = 0.1> (x) f = LeakyRelu <alpha = 0.2> (x) g = Add(c, d) h = Add(e, f) y = Add(g, h) }"""
    assert rewrite(text).ops == {"Relu": 1, "Sigmoid": 1, "LeakyRelu": 2, "Add": 3}


def test_repeated_outputs_keep_both_names() -> None:
    result = rewrite("(float[batch,4] x) => (float[batch,4] y, float[batch,4] z) { y = Relu(x) z = Relu(x) }")
    assert result.ops == {"Relu": 2}
    result = rewrite("(float[batch,4] x) => (float[batch,4] z) { y = Relu(x) z = Relu(x) }")
    assert result.ops == {"Relu": 1}


RESHAPE = """{{ s = Shape(x) a = Gather <axis = 0> (s, zero) u = Unsqueeze(a, axes) t = Concat <axis = 0> (u, {rest})
    r = Reshape(x, t) y = Sigmoid(r) }}"""


@pytest.mark.parametrize(
    ("dims", "rest", "op", "target"),
    [
        ("batch,4,3,3", ints(-1), "Flatten", None),
        ("batch,4,3,3", ints(2, 18), "Reshape", [0, 2, 18]),
        ("batch,4", ints(2, 2), "Reshape", [0, 2, 2]),
        ("batch,4,3,3", ints(6, -1), "Reshape", [0, 6, -1]),
    ],
)
def test_a_target_with_the_dynamic_batch_becomes_constant(
    dims: str, rest: np.ndarray, op: str, target: list[int] | None
) -> None:
    out = "batch," + ",".join("abcd"[: rest.size])
    text = f"(float[{dims}] x) => (float[{out}] y) " + RESHAPE.format(rest="rest")
    result = rewrite(text, zero=np.array(0, np.int64), axes=ints(0), rest=rest)
    assert result.ops == {op: 1, "Sigmoid": 1}
    if target is not None:
        assert result.weights[result.node("r").inputs[1].name].tolist() == target


def test_batch_and_sequence_split_into_heads_and_merge_again() -> None:
    text = """(float[batch,seq,12] x) => (float[batch,seq,12] y)
    { s = Shape(x) b = Gather(s, i0) n = Gather(s, i1) b1 = Unsqueeze(b, axes) n1 = Unsqueeze(n, axes)
      t = Concat <axis = 0> (b1, n1, heads, size) r = Reshape(x, t) p = Transpose <perm = [0,2,1,3]> (r) e = Erf(p)
      q = Transpose <perm = [0,2,1,3]> (e) t2 = Concat <axis = 0> (b1, n1, hidden) y = Reshape(q, t2) }"""
    constants = {"i0": np.array(0, np.int64), "i1": np.array(1, np.int64), "axes": ints(0)}
    result = rewrite(text, heads=ints(3), size=ints(4), hidden=ints(12), rules=("shape_arithmetic",), **constants)
    assert result.ops == {"Reshape": 2, "Transpose": 2, "Erf": 1}
    assert result.weights[result.node("r").inputs[1].name].tolist() == [0, 0, 3, 4]
    assert result.weights[result.node("y").inputs[1].name].tolist() == [0, 0, 12]


@pytest.mark.parametrize(("size", "constant"), [(4, True), (0, False)])
def test_targets_that_take_zero_for_zero(size: int, constant: bool) -> None:
    text = f"""(float[batch,{size},3] x) => (float[batch,a,b] y)
    {{ b = Shape <start = 0, end = 1> (x) t = Concat <axis = 0> (b, rest) y = Reshape <allowzero = 1> (x, t) }}"""
    result = rewrite(text, rest=ints(3, size))
    assert ("Concat" not in result.ops) == constant


def test_two_dimensions_that_change_stay_computed() -> None:
    text = """(float[a,b,c] x) => (float[p,q] y)
    { s = Shape(x) a1 = Slice(s, i0, i1) b1 = Slice(s, i1, i2) c1 = Slice(s, i2, i3) ab = Mul(a1, b1)
      t = Concat <axis = 0> (c1, ab) y = Reshape(x, t) }"""
    result = rewrite(text, i0=ints(0), i1=ints(1), i2=ints(2), i3=ints(3))
    assert result.ops["Concat"] == 1  # [c, a*b]: two unknown sizes, and Reshape infers only one


def test_fixed_dimensions_are_folded_and_dynamic_ones_are_not() -> None:
    text = """(float[batch,4,6] x) => (int64[1] y, int64[1] z)
    { s = Shape(x) b = Slice(s, i0, i1) c = Slice(s, i1, i2) y = Neg(b) z = Neg(c) }"""
    result = rewrite(text, i0=ints(0), i1=ints(1), i2=ints(2))
    assert result.ops == {"Shape": 1, "Slice": 1, "Neg": 2}


def test_expand_to_the_shape_at_hand_is_removed() -> None:
    """As torch exports `expand`: -1 stands for the dimension at hand."""
    text = """(float[batch,4] x) => (float[batch,4] y)
    { s = Shape(x) b = Slice(s, i0, i1) t = Concat <axis = 0> (b, rest) n = Shape(t)
      ones = ConstantOfShape <value = int64[1] {1}> (n) minus = Mul(ones, m) e = Equal(t, minus)
      w = Where(e, ones, t) r = Expand(x, w) y = Sigmoid(r) }"""
    assert rewrite(text, i0=ints(0), i1=ints(1), rest=ints(4), m=ints(-1)).ops == {"Sigmoid": 1}


def test_expand_that_broadcasts_stays() -> None:
    text = "(float[batch,1] x, float[batch,4] z) => (float[batch,4] y) { s = Shape(z) y = Expand(x, s) }"
    result = rewrite(text)
    assert result.ops == {"Expand": 1}
    assert result.weights["y_shape"].tolist() == [1, 4]


@pytest.mark.parametrize(
    ("elements", "shape", "target"),
    [
        (["n", 4], ("n", 2, 2), [0, 4]),
        (["n", -1], ("n", "h"), [0, -1]),
        ([None, 4], ("n", 2, 2), [0, 4]),
        ([4, "n"], ("n", 4), [4, -1]),
        (["n", None], ("n", 6), [0, 0]),
        ([0, "m", 4], ("n", 2, 2), [0, -1, 4]),
        (["n", "m"], ("m", "n"), None),
        ([None, -1], ("n", 4), None),
        ([None, 4], None, [-1, 4]),
    ],
)
def test_reshape_target(elements: list, shape: tuple | None, target: list[int] | None) -> None:
    assert reshape_target(elements, shape) == target


def test_shapes_in_the_file_are_not_trusted() -> None:
    model = parse("(float[batch,4] x) => (float[batch,4] y) { a = Relu(x) y = Relu(a) }")
    relu = model.graph[0]
    relu.outputs[0].shape = ir.Shape([7, 4])
    assert Facts(model).shape(relu.outputs[0]) == ("batch", 4)


def test_unnamed_dimensions_of_two_inputs_are_not_taken_for_equal() -> None:
    model = parse("(float[?,4] x, float[?,4] z) => (float[?,4] y) { y = Add(x, z) }")
    assert not Facts(model).same_shape(*model.graph.inputs)
    assert Facts(model).same_shape(model.graph.inputs[0], model.graph.inputs[0])


EXPRESSIONS = {
    "Shape(x)": ["batch", 4, 6],
    "Shape <start = -2> (x)": [4, 6],
    "Slice(s, m2, far)": [4, 6],
    "Slice(s, far, first, zero, m1)": [6, 4, "batch"],
    "Gather(s, m2)": [4],
    "Div(s, m4)": [None, -1, -1],
    "Div(s, one)": ["batch", 4, 6],
    "Mul(s, m2)": [None, -8, -12],
    "Sub(s, zero)": ["batch", 4, 6],
    "Sub(s, s)": [None, 0, 0],
    "Add(zero, s)": ["batch", 4, 6],
    "Concat <axis = 0> (s, m1)": ["batch", 4, 6, -1],
    "Where(positive, s, m1)": [None, 4, 6],
    "Where(negative, s, m1)": [-1, -1, -1],
    "ConstantOfShape <value = int64[1] {7}> (three)": [7, 7, 7],
    "Cast <to = 7> (i)": ["batch", 4, 6],
    "Reshape(s, m1)": ["batch", 4, 6],
    "Squeeze(u)": ["batch", 4, 6],
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_contents_are_what_onnxruntime_computes(expression: str) -> None:
    text = f"""(float[batch,4,6] x) => (int64[n] y)
    {{ s = Shape(x) i = Cast <to = 6> (s) u = Unsqueeze(s, zero) positive = Equal(s, s4) negative = Equal(s, m1)
       y = {expression} }}"""
    numbers = {"zero": 0, "one": 1, "three": 3, "m1": -1, "m2": -2, "m4": -4, "far": 2**63 - 1, "first": -(2**63)}
    model = parse(text, s4=ints(5, 4, 6), **{name: ints(number) for name, number in numbers.items()})
    known = Facts(model).contents(model.graph.outputs[0])
    assert known is not None
    expected = EXPRESSIONS[expression]
    assert known.tolist() == expected
    actual = Session(model, threads=1, optimize=False).run({"x": rand(5, 4, 6)})["y"]
    numeric = [5 if element == "batch" else element for element in expected]
    assert [n if n is None else int(a) for n, a in zip(numeric, actual, strict=True)] == numeric
