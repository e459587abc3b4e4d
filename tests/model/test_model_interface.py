"""One model takes the names of another: what it computes stays, by onnxruntime; what cannot fit is refused."""

import numpy as np
import pytest

from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.model.interface import match_interface
from compressctl.model.load import interface
from compressctl.model.verify import verify_graph
from tests import graphs


def _model(inputs, outputs, body):
    return graphs.model(body, {}, inputs, outputs)


TEACHER = _model("float[n, 3] image", "float[n, 3] logits", "logits = Neg (image)")


@pytest.mark.parametrize(
    ("inputs", "outputs", "body"),
    [
        ("float[batch, 3] x", "float[batch, 3] y", "y = Exp (x)"),
        ("float[batch, 3] x", "float[batch, 3] y", "image = Exp (x) logits = Neg (image) y = Neg (logits)"),
        ("float[batch, 3] logits", "float[batch, 3] image", "image = Exp (logits)"),
        ("float[m, k] image", "float[m, k] out", "out = Exp (image)"),
        ("float[m, k] x", "float[?, ?] logits", "logits = Exp (x)"),
    ],
)
def test_names_change_and_results_do_not(inputs, outputs, body):
    model = _model(inputs, outputs, body)
    notes = match_interface(model, TEACHER, about="s.onnx")
    verify_graph(model, where="match")
    assert [[spec.name for spec in side] for side in interface(model)] == [["image"], ["logits"]]
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    result = Session(model, threads=1, optimize=False).run({"image": x})
    np.testing.assert_allclose(result["logits"], np.exp(x), rtol=1e-6)
    before = {inputs.split()[-1]: "image", outputs.split()[-1]: "logits"}
    assert {note.node: note.text for note in notes} == {
        old: f"renamed to {new}" for old, new in before.items() if old != new
    }


def test_a_name_that_a_body_bears_makes_way():
    model = _model(
        "float[n, 3] x, bool flag",
        "float[n, 3] y",
        "h = Relu (x) y = If (flag) <then_branch = a () => (float[n, 3] logits) { logits = Neg (h) },"
        " else_branch = b () => (float[n, 3] e) { e = Exp (h) }>",
    )
    for body in (attribute.as_graph() for node in model.graph for attribute in node.attributes.values()):
        for node in body:
            node.name = f"{body.name}_node"
    wanted = _model("float[n, 3] x, bool flag", "float[n, 3] logits", "logits = Neg (x)")
    match_interface(model, wanted, about="s.onnx")
    verify_graph(model, where="match")
    x = np.ones((1, 3), np.float32)
    result = Session(model, threads=1, optimize=False).run({"x": x, "flag": np.array(True)})
    np.testing.assert_array_equal(result["logits"], -x)


def test_the_same_names_in_another_order_stay():
    model = _model("float[n, 3] b, float[n, 2] a", "float[n, 3] y", "y = Neg (b) z = Neg (a)")
    wanted = _model("float[n, 2] a, float[n, 3] b", "float[n, 3] y", "y = Neg (b) z = Neg (a)")
    assert match_interface(model, wanted, about="s.onnx") == ()


def test_names_change_places():
    model = _model("float[n, 3] a, float[n, 3] b", "float[n, 3] y", "y = Sub (a, b)")
    wanted = _model("float[n, 3] b, float[n, 3] c", "float[n, 3] y", "y = Sub (b, c)")
    match_interface(model, wanted, about="s.onnx")
    verify_graph(model, where="match")
    b, c = np.full((1, 3), 5, np.float32), np.full((1, 3), 3, np.float32)
    np.testing.assert_array_equal(Session(model, threads=1).run({"b": b, "c": c})["y"], b - c)


@pytest.mark.parametrize(
    ("inputs", "outputs", "body", "shown"),
    [
        ("double[n, 3] x", "double[n, 3] y", "y = Neg (x)", "inputs are x:nx3:float64, the model's image:nx3:float32"),
        ("float[n, 4] x", "float[n, 4] y", "y = Neg (x)", "inputs are x:nx4:float32, the model's image:nx3"),
        ("float[8, 3] x", "float[8, 3] y", "y = Neg (x)", "inputs are x:8x3:float32"),  # the teacher takes any batch
        ("float[n, 3, 1] x", "float[n, 3, 1] y", "y = Neg (x)", "inputs are x:nx3x1"),
        ("float[n, 3] x, float[n] z", "float[n, 3] y", "y = Neg (x)", "inputs are x:nx3:float32, z:n:float32"),
        ("float[n, 3] x", "float[n, 6] y", "y = Concat <axis = 1> (x, x)", "outputs are y:nx6:float32"),
        ("float[n, 3] x", "float[n, 3] y, float[n, 3] z", "y = Neg (x) z = Exp (x)", "outputs are y:nx3"),
    ],
)
def test_what_does_not_fit_shows_both_sides(inputs, outputs, body, shown):
    with pytest.raises(ModelError, match=r"student\.onnx cannot take") as caught:
        match_interface(_model(inputs, outputs, body), TEACHER, about="student.onnx")
    assert shown in str(caught.value)
