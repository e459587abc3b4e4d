"""Which values a term compares, which losses are the default, and what is said where neither is clear."""

import numpy as np
import onnx_ir as ir
import pytest
import torch

from compressctl.errors import CompressctlError, DataError, ModelError, UsageError
from compressctl.measure.metrics import parse_metric
from compressctl.resources import Resources
from compressctl.training.binding import Comparison, bind, watched
from compressctl.training.defaults import default_losses
from compressctl.training.options import LossTerm
from tests.graphs import model
from tests.training.tiny import Arrays, Pairs, classes, mlp

W = np.ones((8, 3), np.float32)
PROBABILITIES = "h = MatMul(x, W) y = Softmax <axis = -1> (h)"
TWO = "y = MatMul(x, W) z = Sigmoid(y)"


def graph(body: str, outputs: str = "float[N, 3] y") -> ir.Model:
    return model(body, {"W": W}, "float[N, 8] x", outputs)


def two() -> ir.Model:
    return graph(TWO, "float[N, 3] y, float[N, 3] z")


def bound(text: str, m: ir.Model, *, labels=None, teachers=(), preferred=None, shapes=None) -> Comparison:
    term = LossTerm.model_validate(text)
    names = [value.name for value in m.graph.outputs] + watched(m, [term])
    values = {name: torch.zeros((shapes or {}).get(name, (4, 3))) for name in names}
    return bind([term], m, teachers, values, None if labels is None else torch.from_numpy(labels), preferred)[0]


INTEGERS = np.array([0, 1, 2, 0])


def test_the_only_output_that_fits_is_taken():
    assert bound("cross-entropy", mlp(), labels=INTEGERS).student == "y"
    shapes = {"z": (4, 7, 5)}
    assert bound("cross-entropy", two(), labels=INTEGERS, shapes=shapes).student == "y"


def test_of_several_the_one_that_the_metric_judges_is_taken():
    assert bound("cross-entropy", two(), labels=INTEGERS, preferred="z").student == "z"
    assert bound("cross-entropy:output=y", two(), labels=INTEGERS, preferred="z").student == "y"


def test_scores_are_taken_before_a_final_softmax_or_sigmoid():
    m = graph(PROBABILITIES)
    one = bound("kl", m, teachers=(m,))
    assert (one.student, one.teachers, one.axis) == ("h", ("h",), 1)
    assert bound("mse", m, teachers=(m,)).student == "y"
    named = graph("h = MatMul(x, W) p = Softmax(h) y = Identity(p)")
    assert bound("cross-entropy", named, labels=INTEGERS).student == "h"
    assert bound("bce:output=z", two(), labels=np.ones((4, 3), np.float32)).student == "y"


@pytest.mark.parametrize(
    ("shape", "labels", "axis"),
    [((4, 3), None, 1), ((4, 6, 3), None, 2), ((4, 3, 6, 6), None, 1), ((4, 6, 3), (4, 6), 2)],
)
def test_the_class_axis_of_kl(shape, labels, axis):
    m = mlp()
    given = None if labels is None else np.zeros(labels, np.int64)
    assert bound("kl", m, teachers=(m,), labels=given, shapes={"y": shape}).axis == axis


def test_a_teacher_with_one_output_may_call_it_otherwise():
    teacher = graph("other = MatMul(x, W)", "float[N, 3] other")
    assert bound("kl", mlp(), teachers=(mlp(), teacher)).teachers == ("y", "other")


def test_nodes_of_student_and_teacher_are_found_by_name():
    m, teacher = mlp(), mlp(width=32)
    one = bound("features:student=Relu_1", m, teachers=(teacher,))
    assert (one.student, one.teachers, one.maps) == ("a", ("a",), False)
    soft = graph(PROBABILITIES)
    assert bound("attention:student=Softmax_1", soft, teachers=(soft,)).maps


@pytest.mark.parametrize(
    ("text", "given", "kind", "message"),
    [
        ("kl", {}, UsageError, "loss kl: needs a teacher"),
        ("cross-entropy", {}, DataError, "loss cross-entropy: needs labels.*labels=NAME"),
        ("cross-entropy", {"labels": INTEGERS}, UsageError, r"outputs y, z \(name one: cross-entropy:output=y\)"),
        ("cross-entropy:output=w", {"labels": INTEGERS}, UsageError, r"no output 'w' \(there are y, z\)"),
        ("mse:target=labels", {"labels": INTEGERS}, DataError, r"no output fits \(.*y \[4, 3\].* labels \[4\]"),
        ("features:student=MatMul_9", {"teachers": (mlp(),)}, ModelError, "trained model has no node.*'MatMul_0'"),
        ("features:student=MatMul_0", {"teachers": (mlp(),)}, ModelError, "the teacher has no node 'MatMul_0'"),
        ("attention:student=Sigmoid_1,teacher=Softmax_1", {"teachers": (graph(PROBABILITIES),)}, ModelError, "Softmax"),
    ],
)
def test_what_is_missing_or_unclear_is_said(text, given, kind, message):
    with pytest.raises(CompressctlError, match=message) as caught:
        bound(text, two(), **given)
    assert type(caught.value) is kind


@pytest.fixture
def defaults(resources):
    def _defaults(m: ir.Model, source, metric: str | None = None, *, teacher: bool) -> list[str]:
        found = default_losses(m, source, resources, metric and parse_metric(metric), teacher=teacher)
        return [str(term) for term in found]

    return _defaults


X, Y = classes(20)


@pytest.mark.parametrize(
    ("m", "source", "metric", "teacher", "want"),
    [
        (mlp(), Arrays({"x": X}, Y), None, False, ["cross-entropy"]),
        (mlp(), Arrays({"x": X}, Y), "top1", True, ["kl:weight=0.9", "cross-entropy:weight=0.1"]),
        (mlp(), Arrays({"x": X}), "top1", True, ["kl"]),
        (mlp(), Arrays({"x": X}), None, True, ["mse"]),
        (graph(PROBABILITIES), Arrays({"x": X}), None, True, ["kl"]),
        (mlp(), Arrays({"x": X}, X[:, :3]), None, True, ["mse"]),
        (mlp(), Arrays({"x": X}, X[:, :3]), None, False, ["mse:target=labels"]),
        (mlp(), Pairs({"x": X}, X[:10, 0]), "spearman", True, ["mse"]),
        (two(), Arrays({"x": X}), None, True, ["mse:output=y", "mse:output=z"]),
        (
            two(),
            Arrays({"x": X}, Y),
            "top1:y",
            True,
            ["kl:weight=0.9,output=y", "mse:output=z", "cross-entropy:weight=0.1,output=y"],
        ),
    ],
)
def test_default_losses(defaults, m, source, metric, teacher, want):
    assert defaults(m, source, metric, teacher=teacher) == want


def test_no_default_without_labels_or_teacher_or_a_clear_output(defaults):
    with pytest.raises(DataError, match="no labels to train on"):
        defaults(mlp(), Arrays({"x": X}), teacher=False)
    with pytest.raises(UsageError, match="name one: cross-entropy:output=y"):
        defaults(two(), Arrays({"x": X}, Y), teacher=True)
    with pytest.raises(DataError, match="name a loss"):
        defaults(mlp(), Arrays({"x": X}, X), teacher=False)


def test_next_tokens_are_those_that_are_fed():
    m = model("y = MatMul(x, W)", {"W": W}, "float[N, T, 8] x", "float[N, T, 3] y")
    feeds = {"input_ids": torch.ones((2, 5), dtype=torch.int64), "attention_mask": torch.ones((2, 5))}
    term, values = LossTerm.model_validate("next-token"), {"y": torch.zeros((2, 5, 3))}
    (one,) = bind([term], m, (), values, None, feeds=feeds)
    assert (one.student, one.tokens, one.axis) == ("y", "input_ids", 2)
    with pytest.raises(DataError, match="needs a model of token ids"):
        bind([term], m, (), values, None, feeds={"x": torch.ones((2, 5, 8))})


def test_contrastive_compares_pairs_or_rows_with_a_teacher():
    m = mlp()
    with pytest.raises(DataError, match="needs pairs"):
        bound("contrastive", m)
    assert bound("contrastive:target=teacher", m, teachers=(m,)).teachers == ("y",)


def test_language_models_learn_next_tokens_without_labels(tmp_path):
    arrays = {"E": np.eye(12, 8, dtype=np.float32), "H": np.ones((8, 12), np.float32)}
    m = model(
        "e = Gather(E, input_ids) logits = MatMul(e, H)", arrays, "int64[N, T] input_ids", "float[N, T, 12] logits"
    )
    source = Arrays({"input_ids": np.ones((4, 5), np.int64)})
    resources = Resources(workdir=tmp_path, threads=1)
    assert [str(term) for term in default_losses(m, source, resources, teacher=False)] == ["next-token"]
    assert [str(term) for term in default_losses(m, source, resources, teacher=True)] == ["kl"]
