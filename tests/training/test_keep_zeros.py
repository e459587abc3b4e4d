"""Zeros that pruning left stay zero through training, with every optimizer, resumed or not; the others train."""

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.model.graph import constant, set_constant
from compressctl.model.save import save_model
from compressctl.passes import distill, finetune, qat
from compressctl.training.checkpoint_paths import CheckpointPath
from tests.training.passes import context
from tests.training.tiny import Interrupted, blobs, fit, mlp, options, weights


def pruned(seed: int = 0) -> ir.Model:
    """Return a network half of whose weights are zero."""
    model = mlp(seed)
    for index, name in enumerate(("W1", "W2")):
        value = model.graph.initializers[name]
        array = constant(value)
        set_constant(value, np.where(np.random.default_rng(index).random(array.shape) < 0.5, 0, array).astype("f"))
    return model


def _zeros(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: array == 0 for name, array in weights(model).items() if array.ndim > 1}


def _said(notes) -> list[str]:
    return [note.text for note in notes if "stay zero" in note.text]


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "adamw", "weight_decay": 0.3},
        {"optimizer": "sgd", "momentum": 0.95, "learning_rate": 0.1},
        {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.1, "clip_norm": 0.0},
    ],
)
def test_the_pattern_stays_and_the_rest_trains(tmp_path, given):
    model, before = pruned(), pruned()
    told = fit(model, blobs(), "cross-entropy", tmp_path, options(steps=30, **given))
    assert told.best_step > 0
    for name, pattern in _zeros(before).items():
        np.testing.assert_array_equal(_zeros(model)[name], pattern)
        changed = weights(model)[name] != weights(before)[name]
        assert changed[~pattern].all()
    count = sum(int(pattern.sum()) for pattern in _zeros(before).values())
    assert _said(told.notes) == [f"{count} zeros in 2 weights stay zero; keep_zeros: false lets them train"]


def test_without_it_zeros_train(tmp_path):
    model = pruned()
    told = fit(model, blobs(), "cross-entropy", tmp_path, options(steps=30, keep_zeros=False))
    assert told.best_step > 0 and not _said(told.notes)
    assert not any(pattern.any() for pattern in _zeros(model).values())


def test_zeros_take_no_part_in_the_clipped_norm(tmp_path):
    """One step of plain descent: the gradient of what is left is scaled by its own norm."""
    one = {"steps": 1, "train_batch": 1000, "optimizer": "sgd", "momentum": 0, "weight_decay": 0, "warmup": 0}
    o = options(**one, schedule="constant", learning_rate=0.1, clip_norm=1e-3)
    model, before = pruned(), pruned()
    fit(model, blobs(), "cross-entropy", tmp_path, o)
    moved = sum(float(np.square(weights(model)[name] - array).sum()) for name, array in weights(before).items())
    assert np.sqrt(moved) == pytest.approx(0.1 * 1e-3, rel=1e-2)


def test_tensors_of_zeros_alone_train(tmp_path):
    model = mlp()
    set_constant(model.graph.initializers["W2"], np.zeros((3, 16), np.float32))
    told = fit(model, blobs(), "cross-entropy", tmp_path, options(steps=30))
    assert weights(model)["W2"].all() and not _said(told.notes)


def test_a_resumed_training_keeps_them_to_the_byte(tmp_path):
    o = options(steps=40, checkpoint_every=7, evaluate_every=5)
    checkpoint = CheckpointPath(tmp_path / "checkpoint.pt", "k", True)
    whole, resumed = pruned(), pruned()
    fit(whole, blobs(), "cross-entropy", tmp_path, o)
    with pytest.raises(KeyboardInterrupt):
        fit(pruned(), blobs(), "cross-entropy", tmp_path, o, checkpoint=checkpoint, progress=Interrupted(24))
    fit(resumed, blobs(), "cross-entropy", tmp_path, o, checkpoint=checkpoint)
    for name, array in weights(whole).items():
        assert array.tobytes() == weights(resumed)[name].tobytes()
    np.testing.assert_array_equal(_zeros(resumed)["W1"], _zeros(pruned())["W1"])


def test_finetune_and_distill_keep_them(tmp_path):
    data = context(mlp(), tmp_path, blobs(), "top1")
    tuned = pruned()
    finetune.Config(steps=20, train_batch=16).run(tuned, data)
    np.testing.assert_array_equal(_zeros(tuned)["W1"], _zeros(pruned())["W1"])
    save_model(pruned(), tmp_path / "student.onnx", overwrite=False)
    config = distill.Config(student=str(tmp_path / "student.onnx"), steps=20, train_batch=16)
    student = config.run(mlp(5), data).model
    np.testing.assert_array_equal(_zeros(student)["W1"], _zeros(pruned())["W1"])


@pytest.mark.parametrize("keep", [True, False])
def test_integers_of_zeros_stay_zero(tmp_path, keep):
    model = pruned()
    config = qat.Config(steps=30, train_batch=16, learning_rate=0.02, target="vnni", keep_zeros=keep)
    out = config.run(model, context(mlp(), tmp_path, blobs(), "top1"))
    integers = [a for a in weights(out.model).values() if a.dtype == np.int8 and a.shape == (16, 8)]
    assert len(integers) == 1
    assert bool((integers[0][_zeros(pruned())["W1"]] == 0).all()) == keep
