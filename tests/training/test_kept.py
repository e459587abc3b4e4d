"""Zeros stay zero and shared weights stay shared through training, with every optimizer, resumed or not."""

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.model.graph import constant, set_constant
from compressctl.model.save import save_model
from compressctl.passes import distill, finetune, qat
from compressctl.training.checkpoint_paths import CheckpointPath
from tests.graphs import weights
from tests.training.passes import ONE_STEP, context
from tests.training.tiny import CODES, VALUES, Arrays, Interrupted, blobs, classes, fit, mlp, options, shared

RNG = np.random.default_rng(7)


OPTIMIZERS = [
    {"optimizer": "adamw", "weight_decay": 0.3},
    {"optimizer": "sgd", "momentum": 0.95, "learning_rate": 0.1},
    {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.1, "clip_norm": 0.0, "learning_rate": 0.1},
]


def pruned(seed: int = 0) -> ir.Model:
    """Return a network half of whose weights are zero."""
    model = mlp(seed)
    for index, name in enumerate(("W1", "W2")):
        value = model.graph.initializers[name]
        array = constant(value)
        set_constant(value, np.where(np.random.default_rng(index).random(array.shape) < 0.5, 0, array).astype("f"))
    return model


def _values(model: ir.Model, name: str) -> np.ndarray:
    """Return the value of each cluster, all of whose members have it."""
    array = weights(model)[name]
    for code in range(len(VALUES[name])):
        assert len(np.unique(array[CODES[name] == code])) == 1, f"cluster {code} of {name} came apart"
    return np.array([array[CODES[name] == code][0] for code in range(len(VALUES[name]))])


def _zeros(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: array == 0 for name, array in weights(model).items() if array.ndim > 1}


def _said(notes, words: str) -> list[str]:
    return [note.text for note in notes if words in note.text]


@pytest.mark.parametrize("given", OPTIMIZERS)
def test_clusters_stay_and_their_values_train(tmp_path, given):
    model = shared()
    told = fit(model, blobs(), "cross-entropy", tmp_path, options(steps=30, **given))
    assert told.best_step > 0
    assert _said(told.notes, "train as such") == [
        "7 values that 2 weights share train as such; keep_clusters: false lets them come apart"
    ]
    for name, before in VALUES.items():
        after = _values(model, name)
        np.testing.assert_array_equal(after == 0, before == 0)
        assert (after != before)[before != 0].all()


def test_zeros_that_may_train_do_so_as_a_cluster(tmp_path):
    model = shared()
    fit(model, blobs(), "cross-entropy", tmp_path, options(steps=30, keep_zeros=False))
    assert _values(model, "W1")[1] != 0


def test_without_it_members_part(tmp_path):
    model = shared()
    told = fit(model, blobs(), "cross-entropy", tmp_path, options(steps=30, keep_clusters=False))
    assert not _said(told.notes, "train as such")
    assert len(np.unique(weights(model)["W2"])) == 48


def test_a_step_moves_the_codebook_along_the_projected_gradient(tmp_path):
    """Softmax regression on one sample, by hand: c_k -= rate * sum of the gradients of cluster k / its members."""
    x, y = classes()
    model, before = shared(), weights(shared())
    one = {name: np.repeat(array[:1], 40, axis=0) for name, array in (("x", x), ("y", y))}
    fit(model, Arrays({"x": one["x"]}, one["y"]), "cross-entropy", tmp_path, options(**ONE_STEP))
    h = before["W1"] @ x[0] + before["b1"]
    a = np.maximum(h, 0)
    logits = before["W2"] @ a + before["b2"]
    e = np.exp(logits - logits.max())
    off = e / e.sum() - np.eye(3)[y[0]]
    gradients = {"W2": np.outer(off, a), "W1": np.outer((before["W2"].T @ off) * (h > 0), x[0])}
    for name, gradient in gradients.items():
        sums = np.bincount(CODES[name].ravel(), gradient.ravel())
        moved = VALUES[name] - 0.05 * sums / np.bincount(CODES[name].ravel())
        expected = np.where(VALUES[name] == 0, 0, moved)
        np.testing.assert_allclose(_values(model, name), expected, rtol=2e-6)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_vectors_stay_together(tmp_path, width):
    model = mlp(width=64)
    codes = RNG.integers(0, 6, 64 * 8 // width)
    book = RNG.standard_normal((6, width)).astype(np.float32)
    book[2] = 0
    set_constant(model.graph.initializers["W1"], book[codes].reshape(64, 8))
    told = fit(model, blobs(), "cross-entropy", tmp_path, options(steps=30, learning_rate=0.01))
    assert told.best_step > 0
    rows = weights(model)["W1"].reshape(-1, width)
    after = np.array([rows[codes == code][0] for code in range(6)])
    np.testing.assert_array_equal(rows, after[codes])
    np.testing.assert_array_equal(after == 0, book == 0)
    assert (after != book)[book != 0].all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 16), np.float32),
        np.ones((3, 16), np.float32),
        RNG.choice(np.arange(7, dtype=np.float32), (3, 16)),  # 48 elements of 7 values: chance
        RNG.standard_normal((3, 16)).astype(np.float32),
    ],
    ids=["zeros", "ones", "chance", "free"],
)
def test_what_is_no_cluster_trains_freely(tmp_path, array):
    model = mlp()
    set_constant(model.graph.initializers["W2"], array)
    told = fit(model, blobs(), "cross-entropy", tmp_path, options(steps=5, keep_zeros=False))
    assert not _said(told.notes, "train as such")


@pytest.mark.parametrize("build", [pruned, shared])
def test_a_resumed_training_keeps_them_to_the_byte(tmp_path, build):
    o = options(steps=40, checkpoint_every=7, evaluate_every=5)
    checkpoint = CheckpointPath(tmp_path / "checkpoint.pt", "k", True)
    whole, resumed = build(), build()
    fit(whole, blobs(), "cross-entropy", tmp_path, o)
    with pytest.raises(KeyboardInterrupt):
        fit(build(), blobs(), "cross-entropy", tmp_path, o, checkpoint=checkpoint, progress=Interrupted(24))
    fit(resumed, blobs(), "cross-entropy", tmp_path, o, checkpoint=checkpoint)
    for name, array in weights(whole).items():
        assert array.tobytes() == weights(resumed)[name].tobytes()
    if build is shared:
        _values(resumed, "W1")
    else:
        np.testing.assert_array_equal(_zeros(resumed)["W1"], _zeros(pruned())["W1"])


def test_finetune_keeps_them(tmp_path):
    tuned = shared()
    finetune.Config(steps=20, train_batch=16).run(tuned, context(mlp(), tmp_path, blobs(), "top1"))
    assert _values(tuned, "W1")[1] == 0


@pytest.mark.parametrize("given", OPTIMIZERS)
def test_the_pattern_stays_and_the_rest_trains(tmp_path, given):
    model, before = pruned(), pruned()
    told = fit(model, blobs(), "cross-entropy", tmp_path, options(steps=30, **given))
    assert told.best_step > 0
    for name, pattern in _zeros(before).items():
        np.testing.assert_array_equal(_zeros(model)[name], pattern)
        changed = weights(model)[name] != weights(before)[name]
        assert changed[~pattern].all()
    count = sum(int(pattern.sum()) for pattern in _zeros(before).values())
    assert _said(told.notes, "stay zero") == [
        f"{count} zeros in 2 weights stay zero; keep_zeros: false lets them train"
    ]


def test_without_it_zeros_train(tmp_path):
    model = pruned()
    told = fit(model, blobs(), "cross-entropy", tmp_path, options(steps=30, keep_zeros=False))
    assert told.best_step > 0 and not _said(told.notes, "stay zero")
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
    assert weights(model)["W2"].all() and not _said(told.notes, "stay zero")


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
