"""Cutting residual blocks, against onnxruntime running the whole model with the same branches multiplied by zero."""

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.data.random import random_feeds
from compressctl.errors import ModelError, UsageError
from compressctl.measure.session import Session
from compressctl.model.depth import cut_depth
from compressctl.model.graph import initializer, insert_before
from compressctl.model.load import interface, load_model
from compressctl.model.shapes import infer_shapes
from compressctl.model.verify import verify_graph
from compressctl.simplification.rules import RULES, apply_rules
from tests import graphs
from tests.samples import ROOT

DATA = Path(os.environ.get("COMPRESSCTL_TEST_DATA", "absent"))  # a folder of real models
RNG = np.random.default_rng(0)
W = {name: RNG.standard_normal((4, 4)).astype(np.float32) for name in ("w1", "w2", "w3")}


def _load(path, simplified):
    if not path.exists():
        pytest.skip(f"COMPRESSCTL_TEST_DATA holds no {path.name}")
    model = load_model(path).model
    if simplified:
        apply_rules(model, tuple(RULES))
    return model


def _parse(body, outputs="float[batch, 4] y"):
    model = graphs.model(body, W, "float[batch, 4] x", outputs)
    infer_shapes(model)
    return model


def _without(model, names):
    """The model in which the branches into these Adds (their later operand) are multiplied by zero."""
    model = model.clone()
    order = {value: index for index, node in enumerate(model.graph) for value in node.outputs}
    zero = initializer(model.graph, "zero", np.float32(0))
    for add in [node for node in model.graph if node.name in names]:
        branch = max((0, 1), key=lambda position: order.get(add.inputs[position], -1))
        mul = ir.node("Mul", [add.inputs[branch], zero])
        insert_before(model.graph, add, [mul])
        add.replace_input_with(branch, mul.outputs[0])
    return model


def _removed(notes):
    return [note.node for note in notes if note.node is not None]


def _assert_same(model, cut, names):
    verify_graph(cut, where="depth")
    assert interface(cut) == interface(model)
    for batch in (1, 3):
        feeds = random_feeds(interface(model)[0], batch, seed=batch, sizes={"sequence": 6})
        expected = Session(_without(model, names), threads=1, optimize=False).run(feeds)
        actual = Session(cut, threads=1, optimize=False).run(feeds)
        for name, array in expected.items():
            np.testing.assert_allclose(actual[name], array, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("simplified", [False, True])
@pytest.mark.parametrize(
    ("path", "keep", "kept"),
    [
        (ROOT / "sample_models/cnn.onnx", 0.5, (0, 1)),
        (ROOT / "sample_models/transformer.onnx", 0.5, (2, 4)),
        (DATA / "resnet20_op17_bn.onnx", 0.5, (4, 7)),
        (DATA / "resnet20_op17_bn.onnx", 0.01, (1, 7)),
        (DATA / "resnet20_op17_bn.onnx", 0.99, (6, 7)),
        (DATA / "minilm_l6_op17.onnx", 0.5, (6, 12)),
    ],
)
def test_cutting_is_setting_the_branch_to_zero(path, keep, kept, simplified):
    model = _load(path, simplified)
    before = len(model.graph)
    cut, notes = cut_depth(model, keep)
    names = _removed(notes)
    assert len(names) == kept[1] - kept[0] and notes[-1].text == f"residual blocks kept: {kept[0]} of {kept[1]}"
    assert len(model.graph) == before and len(cut.graph) < before  # a copy was cut, and nothing dead is left
    _assert_same(model, cut, names)


def test_weights_of_removed_blocks_are_gone():
    cut, _ = cut_depth(_load(ROOT / "sample_models/cnn.onnx", False), 0.5)
    assert not [name for name in cut.graph.initializers if name.startswith("block1.")]
    assert [name for name in cut.graph.initializers if name.startswith("block2.")]


def test_attention_and_feed_forward_go_together_and_the_kept_layers_are_spread():
    model = _load(ROOT / "sample_models/transformer.onnx", False)
    assert _removed(cut_depth(model, 0.5)[1]) == ["/layer2/Add", "/layer2/Add_2"]


CHAIN = " ".join(f"h{i} = MatMul (x{i}, w1) r{i} = Relu (h{i}) [add{i}] x{i + 1} = Add (x{i}, r{i})" for i in range(9))


@pytest.mark.parametrize(
    ("keep", "kept"),
    [(0.5, [0, 3, 5, 8]), (0.34, [0, 4, 8]), (0.2, [0, 8]), (0.1, [0]), (0.95, [0, 1, 2, 3, 5, 6, 7, 8])],
)
def test_kept_blocks_are_evenly_spaced_from_the_first_to_the_last(keep, kept):
    model = _parse(f"x0 = Identity (x) {CHAIN} y = Neg (x9)")
    cut, notes = cut_depth(model, keep)
    assert _removed(notes) == [f"add{i}" for i in range(9) if i not in kept]
    _assert_same(model, cut, _removed(notes))


def test_an_add_that_is_the_output_and_one_that_starts_at_the_input():
    model = _parse("a = MatMul (x, w1) [one] b = Add (a, x) c = MatMul (b, w2) d = Tanh (c) [two] y = Add (b, d)")
    cut, notes = cut_depth(model, 0.5)
    assert _removed(notes) == ["two"]
    _assert_same(model, cut, ["two"])


def test_of_nested_blocks_the_inner_ones_are_cut():
    model = _parse(
        "a = MatMul (x, w1) b = MatMul (a, w2) [in1] c = Add (a, b) d = MatMul (c, w3) [in2] e = Add (c, d)"
        " [out] y = Add (x, e)"
    )
    cut, notes = cut_depth(model, 0.5)
    assert _removed(notes) == ["in2"] and notes[-1].text == "residual blocks kept: 1 of 2"
    _assert_same(model, cut, _removed(notes))


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        ("a = MatMul (x, w1) y = Relu (a)", "float[batch, 4] y", "no Add joins two computed values"),
        ("a = MatMul (x, w1) b = MatMul (x, w2) y = Add (a, b)", "float[batch, 4] y", "without a plain shortcut"),
        ("a = Mul (x, x) b = Mul (a, x) y = Add (x, b)", "float[batch, 4] y", "without a layer"),
        (
            "a = MatMul (x, w1) b = Relu (a) y = Add (x, b) z = Neg (a)",
            "float[batch, 4] y, float[batch, 4] z",
            "used elsewhere",
        ),
        ("a = MatMul (x, w1) y = Add (x, a)", "float[batch, 4] y, float[batch, 4] a", "used elsewhere"),
        (
            "m = ReduceMean <axes = [0], keepdims = 1> (x) a = MatMul (x, w1) b = Add (m, a) c = Mul (m, b)"
            " d = MatMul (c, w2) e = Concat <axis = 0> (d, x) y = Add (m, e)",
            "float[more, 4] y",
            "another shape",
        ),
    ],
)
def test_nothing_removable_says_why(body, outputs, reason):
    with pytest.raises(ModelError, match=reason):
        cut_depth(_parse(body, outputs), 0.5)


@pytest.mark.parametrize("keep", [0, 1, -0.5, 2, float("nan")])
def test_the_share_is_between_0_and_1(keep):
    with pytest.raises(UsageError, match="between 0 and 1"):
        cut_depth(_parse("a = MatMul (x, w1) y = Add (x, a)"), keep)
