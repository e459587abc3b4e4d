"""The whole of it: control flow, determinism, random graphs, the comparison with the original, and the pass."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.backend.test.case.node import collect_testcases
from rewriting import assert_equal, ints, parse, rand, rewrite

from compressctl.data.notation import open_source
from compressctl.errors import CompressctlError
from compressctl.model.load import interface, load_model
from compressctl.passes import simplify as simplify_pass
from compressctl.passes.simplify import RuleName
from compressctl.simplification import rules
from compressctl.simplification.equivalence import Runner, difference
from compressctl.simplification.rules import RULES, apply_rules
from compressctl.simplification.verified import simplify
from tests.graphs import operators
from tests.passes import apply
from tests.samples import SAMPLES

IF = """(float[batch,4] x, bool c) => (float[batch,4] y)
{ k = Constant <value_floats = [1.0, 2.0, 3.0, 4.0]> () r = Relu(x) i = Identity(r) t = Transpose(x) u = Transpose(t)
  y = If(c) <then_branch = yes () => (float[batch,4] p) { a = Identity(i) p = Add(a, k) },
             else_branch = no () => (float[batch,4] q) { one = Constant <value_float = 1.0> () q = Mul(u, one) }> }"""


@pytest.mark.parametrize("condition", [False, True])
def test_bodies_stay_and_what_they_capture_is_kept(condition: bool) -> None:
    model = parse(IF)
    result = model.clone()
    apply_rules(result)
    assert operators(result) == ["Relu", "If"]
    assert [len(body) for body in result.graph.subgraphs()] == [2, 2]
    feeds = {"x": rand(3, 4), "c": np.array(condition)}
    assert difference(Runner(feeds).run(model), Runner(feeds).run(result)) is None


def test_a_batch_norm_whose_input_a_body_captures_stays() -> None:
    text = """(float[batch,4,8,8] x, bool[1] b) => (float[batch,4,6,6] y)
    { c = Conv(x, w) n = BatchNormalization(c, s, s, s, v)
      y = If(b) <then_branch = yes () => (float[batch,4,6,6] p) { p = Add(c, n) },
                 else_branch = no () => (float[batch,4,6,6] q) { q = Relu(n) }> }"""
    result = rewrite(text, w=rand(4, 4, 3, 3), s=rand(4), v=rand(4, low=0.1))
    assert result.ops == {"Conv": 1, "BatchNormalization": 1, "If": 1}


def serialized(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", ["cnn", "transformer", "lstm", "mlp"])
def test_sample_models_are_simplified_once_and_for_all(name: str) -> None:
    model = load_model(SAMPLES / f"{name}.onnx").model
    first, second = model.clone(), model.clone()
    apply_rules(first)
    apply_rules(second)
    assert serialized(first) == serialized(second)
    assert_equal(model, first)
    again = first.clone()
    assert not [note for note in apply_rules(again) if note.kind == "done"]
    assert not {"BatchNormalization", "Constant", "Identity"} & {node.op_type for node in first.graph}


UNARY = ("Relu(v)", "Sigmoid(v)", "Identity(v)", "Dropout(v)", "Clip(v, zero, one)", "Neg(v)", "Abs(v)")
SHAPED = (
    "Conv <pads = [1,1,1,1]> (v, w)",
    "Conv <group = 4, pads = [0,1,1,0]> (v, d)",
    "BatchNormalization(v, g, b, m, r)",
    "Mul(v, c)",
    "Add(c, v)",
    "Sub(v, zero)",
    "Max(v, zero)",
    "Min(v, one)",
    "Pad(v, p)",
    "Slice(v, i0, i3, i2)",
    "Slice(v, i1, far, i3)",
    "MaxPool <kernel_shape = [2,2], pads = [1,0,0,1]> (v)",
    "AveragePool <kernel_shape = [2,2], count_include_pad = 1> (v)",
)
PERMS = ([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2])
CONSTANTS = {
    "zero": np.array(0, np.float32),
    "one": np.array(1, np.float32),
    "w": rand(4, 4, 3, 3) / 4,
    "d": rand(4, 1, 2, 2),
    "g": rand(4),
    "b": rand(4, seed=1),
    "m": rand(4, seed=2),
    "r": rand(4, low=0.2),
    "c": rand(4, 1, 1),
    "p": ints(0, 0, 1, 0, 0, 0, 1, 1),
    "i0": ints(0),
    "i1": ints(1),
    "i2": ints(2),
    "i3": ints(3),
    "far": ints(2**63 - 1),
}


@st.composite
def graphs(draw: st.DrawFn) -> str:
    """A chain with branches that join again; shapes stay [batch, 4, h, w] but inside pairs of Transposes or views."""
    nodes, value = [], "x"
    for i in range(draw(st.integers(2, 7))):
        kind = draw(st.sampled_from(["unary", "shaped", "branch", "transposes", "views", "repeat"]))
        name = f"n{i}"
        if kind in ("unary", "shaped"):
            call = draw(st.sampled_from(UNARY if kind == "unary" else SHAPED))
            nodes.append(f"{name} = {call.replace('(v', f'({value}').replace(', v)', f', {value})')}")
        elif kind == "branch":
            a, b = draw(st.sampled_from(UNARY)), draw(st.sampled_from(UNARY))
            join = draw(st.sampled_from(["Add", "Mul", "Sum"]))
            nodes += [f"{name}{k} = {call.replace('(v', f'({value}')}" for k, call in (("a", a), ("b", b))]
            nodes.append(f"{name} = {join}({name}a, {name}b)")
        elif kind == "transposes":
            perm = draw(st.sampled_from(PERMS))
            back = np.argsort(perm).tolist()
            inner = draw(st.sampled_from(UNARY))
            nodes.append(f"{name}a = Transpose <perm = {perm}> ({value})")
            nodes.append(f"{name}b = {inner.replace('(v', f'({name}a')}")
            nodes.append(f"{name} = Transpose <perm = {back}> ({name}b)")
        elif kind == "views":
            nodes.append(f"{name}s = Shape({value}) {name}f = Flatten({value}) {name} = Reshape({name}f, {name}s)")
        else:
            nodes.append(f"{name}a = Relu({value}) {name}b = Relu({value}) {name} = Mul({name}a, {name}b)")
        value = name
    end = draw(st.sampled_from(["y = Sigmoid(v)", "y = ReduceMean <axes = [2,3]> (v)", "y = Identity(v)"]))
    nodes.append(end.replace("(v", f"({value}"))
    return "(float[batch,4,9,9] x) => (float[batch,c,h,k] y) { " + " ".join(nodes) + " }"


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_random_graphs(text: str) -> None:
    used = {name: array for name, array in CONSTANTS.items() if f" {name}" in text or f"({name}" in text}
    result = rewrite(text, **used)
    assert len(result.model.graph) <= len(result.before.graph)
    again = result.model.clone()
    assert not [note for note in apply_rules(again) if note.kind == "done"]


CNN = """(float[batch,4,8,8] x) => (float[batch,4] y)
{ c = Conv(x, w) n = BatchNormalization(c, s, s, s, v) r = Relu(n) p = ReduceMean <axes = [2,3], keepdims = 0> (r)
  y = Identity(p) }"""


def cnn() -> ir.Model:
    return parse(CNN, w=rand(4, 4, 3, 3), s=rand(4), v=rand(4, low=0.1))


def test_a_rule_that_changes_the_result_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: ir.Model, facts: object) -> list:
        for node in model.graph:
            if node.op_type == "Relu":
                node.op_type = "Abs"
                return [rules.done("made wrong", node.name)]
        return []

    monkeypatch.setitem(RULES, "pads", wrong)
    model = cnn()
    result, notes = simplify(model, [{"x": rand(2, 4, 8, 8)}], list(RULES))
    assert operators(result) == ["Conv", "Relu", "GlobalAveragePool", "Flatten"]
    assert next(note.text for note in notes if note.kind == "warning").startswith("rule pads was left out")
    assert_equal(model, result)


def test_nothing_is_simplified_that_cannot_be_run() -> None:
    model = cnn()
    result, notes = simplify(model, [{"x": rand(2, 5, 8, 8)}])
    assert result is model
    assert [note.kind for note in notes] == ["warning"]


@pytest.mark.parametrize(
    ("have", "same"),
    [
        (np.array([1.0, 2.00001], np.float32), True),
        (np.array([1.0, 2.001], np.float32), False),
        (np.array([1.0, np.nan], np.float32), False),
        (np.array([[1.0, 2.0]], np.float32), False),
        (np.array([1.0, 2.0], np.float64), False),
    ],
)
def test_difference_of_floats(have: np.ndarray, same: bool) -> None:
    assert (difference({"y": np.array([1.0, 2.0], np.float32)}, {"y": have}) is None) == same


def test_difference_of_other_values() -> None:
    infinite = np.array([np.inf, -np.inf, np.nan, 1.0], np.float32)
    assert difference({"y": infinite}, {"y": infinite}) is None
    assert difference({"y": infinite}, {"y": -infinite}) is not None
    labels = np.arange(3000)
    one_off, many_off = labels.copy(), labels.copy()
    one_off[5] += 1
    many_off[:5] += 1
    assert difference({"y": labels}, {"y": one_off}) is None
    assert difference({"y": labels}, {"y": many_off}) is not None
    assert "missing" in (difference({"y": labels}, {}) or "")


def test_big_weights_are_fed_to_the_comparison_not_serialized() -> None:
    model = parse("(float[batch,300] x) => (float[batch,300] y) { y = MatMul(x, w) }", w=rand(300, 300))
    x = rand(2, 300)
    np.testing.assert_allclose(Runner({"x": x}).run(model)["y"], x @ rand(300, 300), rtol=1e-4, atol=1e-4)
    assert model.graph.initializers["w"].const_value is not None


def test_the_pass(tmp_path: Path) -> None:
    model = cnn()
    outcome = apply(simplify_pass, model, tmp_path)
    assert operators(outcome.model) == ["Conv", "Relu", "GlobalAveragePool", "Flatten"]
    assert outcome.facts["done"]["BatchNormalization folded into the layer before it"] == ["n"]
    assert any(note.text == "BatchNormalization folded into the layer before it: 1 (n)" for note in outcome.notes)
    assert interface(outcome.model) == interface(model)


def test_the_pass_skips_rules_and_reads_calibration_data(tmp_path: Path) -> None:
    model = cnn()
    source = open_source("random:8", interface(model)[0])
    outcome = apply(simplify_pass, model, tmp_path, source, skip=("batchnorm", "pooling"))
    assert operators(outcome.model) == ["Conv", "BatchNormalization", "Relu", "ReduceMean"]


def test_names_of_rules_in_recipes_are_the_rules() -> None:
    assert get_args(RuleName) == tuple(RULES)


def test_shapes_that_cannot_be_inferred_are_reported() -> None:
    model = parse("(float[batch,4] x) => (float[batch,4] y) { y = Relu(x) }")
    model.graph.inputs[0].type = ir.SequenceType(ir.TensorType(ir.DataType.FLOAT))
    notes = apply_rules(model)
    assert not [note for note in notes if note.kind == "done"]


def test_opset_13() -> None:
    text = """(float[batch,4,8,8] x) => (float[batch,16] y)
    { a = Squeeze(u, i0) c = Conv(x, a) p = ReduceMean <axes = [2,3], keepdims = 0> (c) y = Relu(p) }"""
    result = rewrite(text, opset=13, u=rand(1, 16, 4, 3, 3), i0=ints(0))
    assert result.ops == {"Conv": 1, "GlobalAveragePool": 1, "Flatten": 1, "Relu": 1}
    assert result.weights.keys() == {"u"}


@pytest.mark.long
def test_operators_that_onnx_writes_out_as_functions() -> None:
    """onnx's own test cases of operators expanded into simpler ones, all inputs but the first made constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its cases overflow on purpose
        cases = [case for case in collect_testcases("") if "_expanded" in case.name][::4]
    cases = [case for case in cases if all(isinstance(array, np.ndarray) for array in case.data_sets[0][0])]
    rewritten = 0
    for case in cases:
        model, arrays = ir.from_proto(case.model), case.data_sets[0][0]
        feeds = {value.name: array for value, array in zip(model.graph.inputs, arrays, strict=True)}
        for value in list(model.graph.inputs)[1:]:
            model.graph.inputs.remove(value)
            value.const_value = ir.tensor(feeds.pop(value.name), name=value.name)
            model.graph.register_initializer(value)
        result = model.clone()
        notes = apply_rules(result)
        rewritten += any(note.kind == "done" for note in notes)
        try:
            expected = Runner(feeds).run(model)
        except CompressctlError:  # an operator or type that onnxruntime does not have
            continue
        assert difference(expected, Runner(feeds).run(result)) is None, case.name
    assert rewritten > len(cases) / 2


@pytest.mark.parametrize("keep", [False, True])
def test_what_exporters_leave_goes_but_for_the_models_own(keep: bool, tmp_path: Path) -> None:
    model = parse(IF)
    branch = next(iter(model.graph.subgraphs()))
    marked = (model.graph, branch, model.graph[1], branch[0], model.graph.inputs[0], branch[0].outputs[0])
    for one in marked:
        one.metadata_props["pkg.torch.onnx.stack_trace"] = "File /home/me/model.py, line 3"
    model.graph[2].doc_string = "/home/me/model.py(7): forward"
    model.metadata_props["author"] = "me"
    result = apply(simplify_pass, model, tmp_path, keep_metadata=keep).model
    assert (b"/home/me" in serialized(result)) is keep
    assert b"/home/me" in serialized(model)
    assert result.metadata_props == {"author": "me"}
