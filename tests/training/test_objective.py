"""The weighted sum of the terms, adapters, and values that cannot be compared."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F

from compressctl.errors import DataError, ModelError
from compressctl.resources import Resources
from compressctl.torchexec.module import GraphModule
from compressctl.training.binding import bind, watched
from compressctl.training.objective import Objective
from compressctl.training.options import LossTerm
from compressctl.training.teacher import Teachers
from tests.graphs import model
from tests.training.tiny import classes, mlp, native_mlp

X, Y = classes(12)
FEEDS, LABELS = {"x": torch.from_numpy(X)}, torch.from_numpy(Y)


def objective(student, teacher, folder, *texts: str, x: np.ndarray = X) -> tuple[Objective, dict]:
    """Return the objective, and the teacher's values for `x`."""
    terms = [LossTerm.model_validate(text) for text in texts]
    module = GraphModule(student, extra_outputs=watched(student, terms))
    values = module({"x": torch.from_numpy(x)})
    bound = bind(terms, student, [teacher], values, LABELS)
    run = Teachers([teacher], [one.teachers for one in bound if one.teachers], Resources(workdir=folder)).run({"x": x})
    targets = {names: torch.from_numpy(array) for names, array in run.items()}
    return Objective(module, bound, values, targets, 0), targets


def test_terms_are_added_by_their_weights(tmp_path):
    student, teacher = native_mlp(1), native_mlp(2)
    with torch.no_grad():
        mine, theirs = student(FEEDS["x"]), teacher(FEEDS["x"])
        soft = F.kl_div((mine / 2).log_softmax(1), (theirs / 2).softmax(1), reduction="batchmean") * 4
        hidden = F.mse_loss(student[:2](FEEDS["x"]), teacher[:2](FEEDS["x"]))
        want = 0.9 * soft + 0.1 * F.cross_entropy(mine, LABELS) + 3 * hidden
    terms = ("kl:temperature=2,weight=0.9", "cross-entropy:weight=0.1", "features:student=Relu_1,weight=3")
    o, targets = objective(mlp(1), mlp(2), tmp_path, *terms)
    loss = o(FEEDS, targets, LABELS)
    assert float(loss.detach()) == pytest.approx(float(want), rel=1e-5)
    loss.backward()
    assert all(weight.grad is not None for weight in o.student.weights.values())
    assert not o.adapters


def test_an_adapter_is_made_where_widths_differ_and_gets_gradients(tmp_path):
    o, targets = objective(mlp(1, 4), mlp(2, 32), tmp_path, "cross-entropy", "features:student=Relu_1")
    assert {name: tuple(adapter.shape) for name, adapter in o.adapters.items()} == {"1": (32, 4)}
    o(FEEDS, targets, LABELS).backward()
    assert o.adapters["1"].grad.abs().sum() > 0


def attending(heads: int) -> ir.Model:
    """Return self-attention of x [N, 5, 12] with so many heads."""
    rng = np.random.default_rng(heads)
    arrays = {name: rng.standard_normal((12, 12)).astype(np.float32) for name in "QK"}
    arrays["split"] = np.array([0, 5, heads, 12 // heads])
    body = """
        q = MatMul(x, Q) k = MatMul(x, K) qs = Reshape(q, split) ks = Reshape(k, split)
        qh = Transpose <perm = [0, 2, 1, 3]> (qs) kh = Transpose <perm = [0, 2, 3, 1]> (ks)
        a = MatMul(qh, kh) y = Softmax <axis = -1> (a)
    """
    return model(body, arrays, "float[N, 5, 12] x", f"float[N, {heads}, 5, 5] y")


def test_attention_of_softmax_nodes_compares_maps_averaged_over_heads(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 5, 12)).astype(np.float32)
    student, teacher = attending(2), attending(3)
    o, targets = objective(student, teacher, tmp_path, "attention:student=Softmax_7", x=x)
    maps = [GraphModule(m)({"x": torch.from_numpy(x)})["y"].detach().numpy() for m in (student, teacher)]
    want = np.square(maps[0].mean(1) - maps[1].mean(1)).mean()
    assert float(o({"x": torch.from_numpy(x)}, targets, None).detach()) == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("text", ["kl", "mse", "cosine"])
def test_outputs_of_other_shapes_cannot_be_compared(tmp_path, text):
    wide = model("y = MatMul(x, W)", {"W": np.ones((8, 5), np.float32)}, "float[N, 8] x", "float[N, 5] y")
    with pytest.raises(ModelError, match=rf"loss {text}: cannot compare 'y' \[12, 3\] .* 'y' \[12, 5\]"):
        objective(mlp(), wide, tmp_path, text)


def test_attention_transfer_needs_images(tmp_path):
    with pytest.raises(ModelError, match="loss attention:student=Relu_1: cannot compare"):
        objective(mlp(), mlp(), tmp_path, "attention:student=Relu_1")


@pytest.mark.parametrize("wrong", [3, -1, 0.5])
def test_labels_that_are_no_classes_are_named(tmp_path, wrong):
    o, targets = objective(mlp(), mlp(), tmp_path, "cross-entropy")
    labels = LABELS.double()
    labels[4] = wrong
    with pytest.raises(DataError, match=rf"loss cross-entropy: label {wrong:g} is not a class: they are 0 to 2"):
        o(FEEDS, targets, labels)
