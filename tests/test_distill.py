"""Distillation: one step against gradients written out, and a student of the digits that learns from its teacher."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from compressctl.errors import ModelError, UsageError
from compressctl.model.load import interface, load_model
from compressctl.model.save import save_model
from compressctl.model.verify import verify_graph
from compressctl.passes import distill
from sample_models.student import write_student
from tests.graphs import weights
from tests.samples import SAMPLES
from tests.training.passes import ONE_STEP, alike, answer, context, linear, right, softmax

X, LABEL = np.array([0.5, -1.0, 2.0], np.float32), 2


@pytest.fixture(scope="module")
def teacher():
    return load_model(SAMPLES / "cnn.onnx").model


def _save(model, path):
    save_model(model, path, overwrite=True)
    return str(path)


@pytest.mark.parametrize(
    ("alpha", "temperature", "further", "labelled"),
    [(0.9, 4.0, 0, True), (0.3, 2.0, 0, True), (1.0, 1.0, 0, True), (0.0, 4.0, 0, True), (0.9, 3.0, 2, False)],
)
def test_one_step_follows_the_formula(tmp_path, alpha, temperature, further, labelled):
    teachers = [linear(seed) for seed in range(1 + further)]
    student = linear(9)
    t = np.mean([answer(model, X) for model in teachers], axis=0)
    s = answer(student, X)
    soft = temperature * (softmax(s / temperature) - softmax(t / temperature))  # the gradient of T² KL
    hard = softmax(s) - np.eye(4)[LABEL]
    gradient = alpha * soft + (1 - alpha) * hard if labelled else soft
    config = distill.Config(
        student=_save(student, tmp_path / "s.onnx"),
        teachers=tuple(_save(model, tmp_path / f"t{i}.onnx") for i, model in enumerate(teachers[1:])),
        alpha=alpha,
        temperature=temperature,
        **ONE_STEP,
    )
    data = alike(tmp_path, X, np.int64(LABEL) if labelled else None)
    before = weights(student)
    out = config.run(teachers[0], context(teachers[0], tmp_path, data, "top1"))
    after = weights(out.model)
    np.testing.assert_allclose(after["b"], before["b"] - 0.05 * gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after["w"], before["w"] - 0.05 * np.outer(X, gradient), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(weights(teachers[0])["w"], weights(linear(0))["w"])


def test_without_labels_or_a_metric_of_classes_outputs_are_matched_by_their_squared_error(tmp_path):
    student = linear(9)
    config = distill.Config(student=_save(student, tmp_path / "s.onnx"), **ONE_STEP)
    out = config.run(linear(0), context(linear(0), tmp_path, alike(tmp_path, X)))
    gradient = 2 * (answer(student, X) - answer(linear(0), X)) / 4
    np.testing.assert_allclose(weights(out.model)["b"], weights(student)["b"] - 0.05 * gradient, rtol=1e-5, atol=1e-6)
    assert out.facts["losses"] == ["mse"]


def test_a_small_student_of_the_digits_learns_from_the_cnn(tmp_path, teacher):
    path = SAMPLES / "cnn_student.onnx"
    config = distill.Config(student=str(path), epochs=6, learning_rate=0.02)
    out = config.run(teacher, context(teacher, tmp_path, "digits:train", "top1"))
    verify_graph(out.model, where="distill")
    assert right(load_model(path).model) < 0.2
    assert right(out.model) > 0.9  # seeds give 0.97 to 0.98
    assert out.facts["losses"] == ["kl:weight=0.9", "cross-entropy:weight=0.1"]
    assert out.facts["parameters"]["student"] < out.facts["parameters"]["teacher"] / 10
    assert out.facts["student"]["path"] == str(path) and len(out.facts["student"]["sha256"]) == 64
    assert out.facts["held_out"]["best"] > 0.9 > 0.25 > out.facts["held_out"]["initial"]


def test_a_cut_teacher_recovers(tmp_path, teacher):
    cut = distill.Config(student="from-teacher:depth=0.5", steps=1, learning_rate=1e-9)
    config = distill.Config(student="from-teacher:depth=0.5", epochs=2, learning_rate=2e-3)
    before, after = (
        one.run(teacher, context(teacher, tmp_path, "digits:train", "top1")).model for one in (cut, config)
    )
    assert len(after.graph) < len(teacher.graph)
    assert right(before) < 0.6 and right(after) > 0.95 < right(teacher)  # seeds give 0.37, and 0.98 to 0.99


def test_a_narrowed_teacher_recovers(tmp_path, teacher):
    cut = distill.Config(student="from-teacher:width=0.5", steps=1, learning_rate=1e-9)
    config = distill.Config(student="from-teacher:width=0.5", epochs=2, learning_rate=5e-3)
    before, after = (one.run(teacher, context(teacher, tmp_path, "digits:train", "top1")) for one in (cut, config))
    assert after.facts["student"] == {"from_teacher": {"width": 0.5}}
    shapes, halved = ({name: array.shape for name, array in weights(model).items()} for model in (teacher, after.model))
    assert halved["block1.conv1.weight"] == (8, 8, 3, 3) and shapes["block1.conv1.weight"] == (16, 16, 3, 3)
    assert halved["classifier.weight"] == (10, 32) and shapes["classifier.weight"] == (10, 48)  # 24, in multiples of 16
    assert right(before.model) < 0.5 and right(after.model) > 0.9  # seeds give 0.17, and 0.99


def test_depth_and_width_are_cut_together(tmp_path):
    model = load_model(SAMPLES / "transformer.onnx").model
    config = distill.Config(student="from-teacher:width=0.5,depth=0.5", steps=1)
    out = config.run(model, context(model, tmp_path, "digits:train[:80]", "top1"))
    assert out.facts["student"] == {"from_teacher": {"width": 0.5, "depth": 0.5}}
    halved = weights(out.model)
    assert halved["embed.B"].shape == (8, 32)  # of 64: the stream between norms
    assert halved["layer1.query.B"].shape == (32, 32)  # 2 of 4 heads of 16
    assert halved["layer1.expand.B"].shape == (32, 64) and "layer2.expand.B" not in halved
    verify_graph(out.model, where="distill")


def test_features_and_attention_are_matched_beside_the_answers(tmp_path, teacher):
    config = distill.Config(
        student=str(SAMPLES / "cnn_student.onnx"),
        steps=2,
        features=("/block2/bn2/BatchNormalization=/block2/Add", "/Flatten"),
        attention=("/block1/relu2/Relu=/block2/Relu_1",),
    )
    out = config.run(teacher, context(teacher, tmp_path, "digits:train[:200]", "top1"))
    assert out.facts["losses"][2:] == [
        "features:student=/block2/bn2/BatchNormalization,teacher=/block2/Add",
        "features:student=/Flatten,teacher=/Flatten",
        "attention:student=/block1/relu2/Relu,teacher=/block2/Relu_1",
    ]


def test_losses_replace_the_default(tmp_path):
    config = distill.Config(
        student=_save(linear(9), tmp_path / "s.onnx"), losses=("mse", "cross-entropy:weight=0.5"), **ONE_STEP
    )
    out = config.run(linear(0), context(linear(0), tmp_path, alike(tmp_path, X, np.int64(LABEL))))
    s, t = answer(linear(9), X), answer(linear(0), X)
    gradient = 2 * (s - t) / 4 + 0.5 * (softmax(s) - np.eye(4)[LABEL])
    np.testing.assert_allclose(weights(out.model)["b"], weights(linear(9))["b"] - 0.05 * gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_student_takes_the_inputs_of_its_teacher(tmp_path):
    module = torch.nn.Linear(3, 4).eval()
    torch.jit.script(module).save(str(tmp_path / "s.pt"))
    config = distill.Config(student=str(tmp_path / "s.pt"), losses=("mse",), **ONE_STEP)
    out = config.run(linear(0), context(linear(0), tmp_path, alike(tmp_path, X)))
    verify_graph(out.model, where="distill")
    assert interface(out.model)[0][0].name == "x" and interface(out.model)[1][0].name == "y"
    s, t = module(torch.tensor(X)).detach().numpy(), answer(linear(0), X)
    expected = s - 0.05 * 2 * (s - t) / 4 * (1 + X @ X)  # a step moves W x by the gradient times x·x, and b
    np.testing.assert_allclose(answer(out.model, X), expected, rtol=1e-4, atol=1e-5)


def test_a_student_with_other_names_gets_those_of_its_teacher(tmp_path):
    config = distill.Config(student=_save(linear(9, x="in", y="out"), tmp_path / "s.onnx"), **ONE_STEP)
    out = config.run(linear(0), context(linear(0), tmp_path, alike(tmp_path, X)))
    assert interface(out.model) == interface(linear(0))
    assert {(note.node, note.text) for note in out.notes} >= {("in", "renamed to x"), ("out", "renamed to y")}


def test_a_student_that_cannot_take_the_place_is_refused(tmp_path):
    config = distill.Config(student=_save(linear(9, outputs=5), tmp_path / "s.onnx"))
    with pytest.raises(
        ModelError, match=r"s\.onnx cannot take .* outputs are y:nx5:float32, the model's y:nx4:float32"
    ):
        config.run(linear(0), context(linear(0), tmp_path, alike(tmp_path, X)))
    further = distill.Config(student=str(tmp_path / "s.onnx"), teachers=(tmp_path / "s.onnx",))
    with pytest.raises(ModelError, match="cannot take"):
        further.run(linear(0), context(linear(0), tmp_path, alike(tmp_path, X)))


def test_without_samples_there_is_nothing_to_train_on(tmp_path):
    with pytest.raises(UsageError, match=r"needs samples to train on.*--train.*--data"):
        distill.Config(student="s.onnx").run(linear(0), context(linear(0), tmp_path, None))


def test_a_config_can_be_read_again():
    config = distill.Config(student="s.onnx", losses=("kl:temperature=2",), teachers=(Path("t.onnx"),))
    assert distill.Config.model_validate(config.model_dump(mode="json")) == config


def test_the_sample_student_is_what_its_script_writes(tmp_path):
    write_student(0, tmp_path / "again.onnx")
    write_student(1, tmp_path / "other.onnx")
    again, stored, other = map(
        onnx.load, (tmp_path / "again.onnx", SAMPLES / "cnn_student.onnx", tmp_path / "other.onnx")
    )
    assert again == stored != other
