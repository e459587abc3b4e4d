"""Cuts against arithmetic written out here, and what must not be cut."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from halving import EXACT, error, half, halved, run, shrunk

from compressctl.model.size import count
from compressctl.structure.cut import cut
from compressctl.structure.groups import find_groups
from tests import graphs
from tests.graphs import weights as arrays

normal = graphs.Random(0)


def build(text, **weights):
    """Parse a graph (opset 21); weights become initializers."""
    kinds = {name: "int64" if array.dtype == np.int64 else "float" for name, array in weights.items()}
    names = ", ".join(f"{kinds[name]}[{','.join(map(str, each.shape))}] {name}" for name, each in weights.items())
    header, body = text.split("{", 1)
    head, outputs = header.rsplit("=>", 1)
    head = head.rstrip().rstrip(")")
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]> g {head}, {names}) => {outputs} {{{body}'
    )
    keep = [info for info in proto.graph.input if info.name not in weights]
    del proto.graph.input[:]
    proto.graph.input.extend(keep)
    for name, array in weights.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for number, node in enumerate(proto.graph.node):
        node.name = f"n{number}"
    return ir.from_proto(proto)


def by_name(groups):
    return {group.name: group for group in groups}


def test_rows_columns_and_biases_of_a_hidden_layer_go():
    model = build(
        "(float[n,4] x) => (float[n,2] y) { h = Gemm(x, a, b)  r = Sigmoid(h)  y = MatMul(r, c) }",
        a=normal(4, 6), b=normal(6), c=normal(6, 2),
    )  # fmt: skip
    group, out = find_groups(model)
    assert (group.name, group.kind, group.size, group.fixed.any()) == ("n0", "neuron", 6, False)
    assert {(w.name, w.axis, w.role) for w in group.weights} == {
        ("a", 1, "makes"), ("b", 0, "follows"), ("c", 0, "reads"),
    }  # fmt: skip
    assert out.fixed.all() and out.reasons == ("'y' is an output of the model",)
    old, small = arrays(model), shrunk(model, [group], {"n0": [1, 4]})
    kept = [0, 2, 3, 5]
    new = arrays(small)
    assert all(
        np.array_equal(new[n], w) for n, w in {"a": old["a"][:, kept], "b": old["b"][kept], "c": old["c"][kept]}.items()
    )
    x = normal(3, 4)
    by_hand = 1 / (1 + np.exp(-(x @ old["a"][:, kept] + old["b"][kept]))) @ old["c"][kept]
    np.testing.assert_allclose(run(small, [{"x": x}])[0][0], by_hand, atol=1e-6)
    assert count(small, {"n": 3}).macs == 3 * (4 * 4 + 4 * 2)


def test_a_residual_stream_of_convolutions_goes_as_one():
    model = build(
        """(float[1,3,8,8] x) => (float[1,5,1,1] y) {
            s = Conv<pads = [1,1,1,1]>(x, stem)  a = Relu(s)  b = Conv<pads = [1,1,1,1], group = 8>(a, depthwise)
            c = Conv(b, point)  d = Add(a, c)  p = GlobalAveragePool(d)  y = Conv(p, head) }""",
        stem=normal(8, 3, 3, 3), depthwise=normal(8, 1, 3, 3), point=normal(8, 8, 1, 1), head=normal(5, 8, 1, 1),
    )  # fmt: skip
    groups = by_name(find_groups(model))
    stem = groups["n0"]
    assert stem.kind == "channel" and stem.size == 8 and not stem.fixed.any()
    assert {w.name for w in stem.weights} == {"stem", "depthwise", "point", "head"}
    gone = [0, 3, 5, 6]
    small = shrunk(model, [stem], {"n0": gone})
    zeroed = model.clone()
    for name, axes in {"stem": (0,), "depthwise": (0,), "point": (0, 1), "head": (1,)}.items():
        array = arrays(model)[name].copy()
        for axis in axes:
            np.moveaxis(array, axis, 0)[gone] = 0
        zeroed.graph.initializers[name].const_value = ir.tensor(array)
    feeds = [{"x": normal(1, 3, 8, 8)}]
    np.testing.assert_allclose(run(small, feeds)[0][0], run(zeroed, feeds)[0][0], atol=1e-5)
    assert {node.name: node.attributes.get_int("group", 1) for node in small.graph if node.op_type == "Conv"}["n2"] == 4
    assert count(small).macs == 64 * (4 * 3 * 9 + 4 * 9 + 4 * 4) + 4 * 5


@pytest.mark.parametrize("written_out", [False, True])
def test_a_norm_across_units_takes_statistics_of_those_that_stay(written_out):
    norm = "z = LayerNormalization(h, g, b)"
    if written_out:
        norm = """m = ReduceMean(h, last)  e = Sub(h, m)  q = Mul(e, e)  v = ReduceMean(q, last)  w = Add(v, tiny)
                  r = Sqrt(w)  d = Div(e, r)  t = Mul(d, g)  z = Add(t, b)"""
    model = build(
        f"(float[n,s,4] x) => (float[n,s,2] y) {{ h = MatMul(x, a)  {norm}  y = MatMul(z, c) }}",
        a=normal(4, 8), g=normal(8), b=normal(8), c=normal(8, 2),
        last=np.array([-1]), tiny=np.array(1e-5, np.float32).reshape(1),
    )  # fmt: skip
    group = by_name(find_groups(model))["n0"]
    assert (group.kind, group.size, group.fixed.any()) == ("width", 8, False)
    small = shrunk(model, [group], {"n0": [2, 7]})
    old, kept, x = arrays(model), [0, 1, 3, 4, 5, 6], normal(2, 3, 4)
    h = x @ old["a"][:, kept]
    z = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5) * old["g"][kept] + old["b"][kept]
    np.testing.assert_allclose(run(small, [{"x": x}])[0][0], z @ old["c"][kept], atol=1e-5)


def test_a_hidden_unit_of_an_lstm_goes_from_every_gate():
    model = build(
        """(float[s,n,3] x) => (float[s,n,2] y) {
            h, last, cell = LSTM<hidden_size = 4>(x, w, r, b)  q = Squeeze(h, one)  y = MatMul(q, c) }""",
        w=normal(1, 16, 3), r=normal(1, 16, 4), b=normal(1, 32), c=normal(4, 2), one=np.array([1]),
    )  # fmt: skip
    group = by_name(find_groups(model))["n0"]
    assert (group.kind, group.size, group.fixed.any()) == ("neuron", 4, False)
    new, old = arrays(shrunk(model, [group], {"n0": [2]})), arrays(model)
    kept = [0, 1, 3]
    rows = [gate * 4 + unit for gate in range(4) for unit in kept]
    np.testing.assert_array_equal(new["w"], old["w"][:, rows])
    np.testing.assert_array_equal(new["r"], old["r"][:, rows][:, :, kept])
    np.testing.assert_array_equal(new["b"], old["b"][:, [*rows, *(16 + row for row in rows)]])
    assert error(model, [group], {"n0": [2]}, [{"x": normal(5, 2, 3)}]) < 1e-6


def test_sizes_that_the_graph_computes_with_stay_what_they_were():
    """The scale by the number of units, what is expanded to it, and what is counted from it."""
    model = build(
        """(float[n,4] x) => (float[n,2] y, float[u] ones) {
            h = MatMul(x, a)  s = Shape(h)  k = Gather(s, one)  f = Cast<to = 1>(k)  q = Sqrt(f)  d = Div(h, q)
            o = Expand(unit, k)  t = ReduceSum(o)  e = Mul(d, t)  y = MatMul(e, c)  ones = Identity(o) }""",
        a=normal(4, 6), c=normal(6, 2), one=np.array([1]), unit=np.ones(1, np.float32),
    )  # fmt: skip
    group = by_name(find_groups(model))["n0"]
    small = shrunk(model, [group], {"n0": [0, 5]})
    x, old = normal(3, 4), arrays(model)
    y, ones = run(small, [{"x": x}])[0]
    np.testing.assert_allclose(y, x @ old["a"][:, 1:5] / 6**0.5 * 6 @ old["c"][1:5], atol=1e-5)
    assert ones.shape == (6,)


def test_a_body_that_captures_a_value_freezes_it():
    branch = "{ %s = Neg(h) }"
    model = build(
        f"""(float[n,4] x, bool b) => (float[n,2] y) {{ h = MatMul(x, a)
            i = If(b) <then_branch = t () => (float[n,6] o) {branch % "o"},
                       else_branch = e () => (float[n,6] p) {branch % "p"}>
            j = MatMul(i, c)  y = MatMul(j, d) }}""",
        a=normal(4, 6), c=normal(6, 6), d=normal(6, 2),
    )  # fmt: skip
    groups = by_name(find_groups(model))
    assert groups["n0"].fixed.all() and groups["n0"].reasons == ("If 'n1' is not understood",)
    assert not groups["n2"].fixed.any()


def test_operators_that_are_not_understood_freeze_what_they_touch():
    model = build(
        "(float[n,4] x) => (float[n,2] y) { h = MatMul(x, a)  z = Det(h)  w = com.example.Odd(h)  y = MatMul(w, c) }",
        a=normal(4, 4), c=normal(4, 2),
    )  # fmt: skip
    assert all(group.fixed.all() and group.reasons for group in find_groups(model))


@pytest.mark.parametrize(
    "tail, reason",
    [
        ("k = Softmax(h)", "normalises over all of it"),
        ("k = CumSum(h, axis)", "runs along it"),
        ("m = ReduceMax<keepdims = 1>(h, axes)  k = Sub(h, m)", "compares its positions"),
        ("v, i = TopK(h, axes)  k = Mul(h, v)", "orders its positions"),
        ("k = Slice(h, minus, far, axes, minus)", "with a step"),
        ("k = Pad<mode = 'reflect'>(h, pads)", "changes its ends"),
    ],
)
def test_operators_that_need_the_whole_axis_freeze_it(tail, reason):
    tail = tail.replace("'", '"')
    model = build(
        f"(float[n,4] x) => (float[n,1] y) {{ h = MatMul(x, a)  {tail}  y = ReduceSum(k, axes) }}",
        a=normal(4, 6), axis=np.array(1), axes=np.array([1]), minus=np.array([-1]), far=np.array([-99]),
        pads=np.array([0, 1, 0, 1]),
    )  # fmt: skip
    (group,) = find_groups(model)
    assert group.fixed.all() and reason in " ".join(group.reasons)


def test_two_halves_of_one_layer_are_units_that_each_keep_one():
    model = build(
        """(float[n,4] x) => (float[n,2] y, float[n,3] z) {
            h = MatMul(x, a)  b, c = Split<axis = 1, num_outputs = 2>(h)  y = MatMul(b, d)  z = MatMul(c, e) }""",
        a=normal(4, 8), d=normal(4, 2), e=normal(4, 3),
    )  # fmt: skip
    group = by_name(find_groups(model))["n0"]
    assert group.size == 8 and list(np.flatnonzero(group.fixed)) == [0, 4]
    assert "must stay" in group.reasons[0]
    removed = {"n0": np.flatnonzero(~group.fixed)}
    assert error(model, [group], removed, [{"x": normal(3, 4)}]) < 1e-6


def test_two_groups_of_one_node_have_names_of_their_own():
    """Heads of one part of a layer, hidden units of the other."""
    model = build(
        """(float[1,5,4] x) => (float[1,5,2] y, float[1,5,2] z) {
            h = MatMul(x, a)  b, c = Split<axis = 2>(h, sizes)  r = Reshape(b, heads)
            t = Transpose<perm = [0,2,1,3]>(r)
            u = Transpose<perm = [0,2,3,1]>(r)  s = MatMul(t, u)  v = MatMul(s, t)
            w = Transpose<perm = [0,2,1,3]>(v)
            k = Reshape(w, flat)  y = MatMul(k, d)  z = MatMul(c, e) }""",
        a=normal(4, 12), d=normal(6, 2), e=normal(6, 2), sizes=np.array([6, 6]), heads=np.array([1, 5, 3, 2]),
        flat=np.array([1, 5, 6]),
    )  # fmt: skip
    groups = find_groups(model)
    found = {group.name: (group.kind, group.size) for group in groups if not group.fixed.all()}
    assert found == {"n0": ("head", 3), "n0#2": ("neuron", 6)}
    assert error(model, groups, {"n0": [1], "n0#2": [0, 2, 5]}, [{"x": normal(1, 5, 4)}]) < 1e-6


def test_squeeze_without_axes_keeps_an_axis_of_which_one_position_stays():
    model = build(
        "(float[5,4] x) => (float[5,2] y) {h = MatMul(x, a)  u = Unsqueeze(h, zero)  s = Squeeze(u)  y = MatMul(s, c)}",
        a=normal(4, 3), c=normal(3, 2), zero=np.array([0]),
    )  # fmt: skip
    assert error(model, find_groups(model), {"n0": [0, 2]}, [{"x": normal(5, 4)}]) < 1e-6


def test_a_reshape_that_mixes_units_by_the_size_of_the_input_freezes_them():
    """[n, C, L] read as [n, L, C] without a transpose: which positions meet depends on L."""
    model = build(
        """(float[n,4,l] x) => (float[n,?,2] y) {
            h = Conv(x, a)  s = Shape<start = 2, end = 3>(h)  b = Shape<start = 0, end = 1>(h)
            t = Concat<axis = 0>(b, s, channels)  r = Reshape(h, t)  y = MatMul(r, c) }""",
        a=normal(14, 4, 1), c=normal(14, 2), channels=np.array([14]),
    )  # fmt: skip
    assert all(group.fixed.all() for group in find_groups(model))


def test_inputs_that_share_a_batch_may_name_it_differently():
    model = build(
        """(float[n,4] x, float[m,4] z) => (float[k,2] y) {
            h = MatMul(x, a)  i = MatMul(z, b)  j = Mul(h, i)  y = MatMul(j, c) }""",
        a=normal(4, 6), b=normal(4, 6), c=normal(6, 2),
    )  # fmt: skip
    _, removed, worst = halved(model, [{"x": normal(3, 4), "z": normal(3, 4)}])
    assert len(removed["n0"]) == 3 and worst < 1e-6


def test_cuts_that_may_not_be_are_refused():
    model = build(
        "(float[n,4] x) => (float[n,2] y) { h = MatMul(x, a)  y = MatMul(h, c) }", a=normal(4, 6), c=normal(6, 2)
    )
    groups = find_groups(model)
    for removed in ({"n9": [0]}, {"n0": range(6)}, {"n1": [0]}):
        with pytest.raises(ValueError, match=r"n9|n0|n1"):
            cut(model, groups, removed)
    assert half(groups, EXACT).keys() == {"n0"}


def test_sums_of_weights_keep_all_their_terms():
    """A weight that is divided by its norm: an input that goes would change the norm."""
    model = build(
        """(float[n,4] x) => (float[n,2] y) {
            h = MatMul(x, a)  q = ReduceL2(c, first)  w = Div(c, q)  y = MatMul(h, w) }""",
        a=normal(4, 6), c=normal(6, 2), first=np.array([0]),
    )  # fmt: skip
    group = by_name(find_groups(model))["n0"]
    assert group.fixed.all() and group.reasons == ("ReduceL2 'n1' adds up constants along it",)


def test_heads_go_with_scores_of_distances_that_are_picked_for_each_pair_of_places():
    """Disentangled attention: keys of distances are repeated for each sample, batch and heads are one axis."""
    model = build(
        """(float[n,4,8] x) => (float[n,4,5] y) {
            q = MatMul(x, a)  q4 = Reshape(q, apart)  qt = Transpose<perm = [0,2,1,3]>(q4)  qh = Reshape(qt, merged)
            k = MatMul(x, b)  k4 = Reshape(k, apart)  kt = Transpose<perm = [0,2,3,1]>(k4)  kh = Reshape(kt, turned)
            v = MatMul(x, c)  v4 = Reshape(v, apart)  vt = Transpose<perm = [0,2,1,3]>(v4)  vh = Reshape(vt, merged)
            f = MatMul(far, b)  f4 = Reshape(f, far_apart)  ft = Transpose<perm = [1,2,0]>(f4)
            shape = Shape<start = 0, end = 1>(x)  times = Concat<axis = 0>(shape, ones)  fh = Tile(ft, times)
            s = MatMul(qh, kh)  d = MatMul(qh, fh)  like = Shape(s)  at = Expand(places, like)
            p = GatherElements<axis = 2>(d, at)  sum = Add(s, p)  w = Softmax<axis = 2>(sum)  o = MatMul(w, vh)
            o4 = Reshape(o, again)  ot = Transpose<perm = [0,2,1,3]>(o4)  r = Reshape(ot, flat)  y = MatMul(r, e) }""",
        a=normal(8, 12), b=normal(8, 12), c=normal(8, 12), e=normal(12, 5), far=normal(7, 8),
        apart=np.array([0, 0, 3, 4]), merged=np.array([-1, 4, 4]), turned=np.array([-1, 4, 4]),
        far_apart=np.array([0, 3, 4]), again=np.array([-1, 3, 4, 4]), flat=np.array([0, 0, 12]),
        ones=np.array([1, 1]), places=normal.rng.integers(0, 7, (1, 4, 4)),
    )  # fmt: skip
    groups, removed, difference = halved(model, [{"x": normal(2, 4, 8)}, {"x": normal(1, 4, 8)}], ("head",))
    (head,) = (group for group in groups if group.kind == "head")
    assert head.size == 3 and {weight.name for weight in head.weights} >= set("abce")
    assert removed and difference < 1e-4
