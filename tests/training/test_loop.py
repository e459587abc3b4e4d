"""The training loop against networks trained by hand in torch, and what it does when things go wrong."""

import gc
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compressctl.errors import ModelError, UsageError
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.progress import Silent
from compressctl.resources import Resources
from compressctl.training.samples import TrainingSamples
from tests.graphs import model, weights
from tests.training.tiny import Arrays, Pairs, blobs, classes, fit, mlp, native_mlp, normed, options

RNG = np.random.default_rng(0)


def answers(m: ir.Model, x: np.ndarray, output: str = "y") -> np.ndarray:
    return Session(m, threads=1).run({"x": x})[output]


def batches(source: Arrays, folder: Path, steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the batches that a training with 16 samples a step is fed."""
    (folder / "twin").mkdir()
    samples = TrainingSamples(source, Resources(workdir=folder / "twin"), held_out=0.1, batch=16)
    found = [samples.at(samples.rows(step)) for step in range(steps)]
    return [(torch.from_numpy(b.feeds["x"]), torch.from_numpy(b.labels)) for b in found]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_twenty_steps_are_those_of_torch_by_hand(tmp_path, optimizer):
    m, native, source = mlp(), native_mlp(), blobs()
    o = options(steps=20, optimizer=optimizer, learning_rate=0.01, weight_decay=0.1, clip_norm=0.5, warmup=0.25)
    result = fit(m, source, "cross-entropy", tmp_path, o)
    assert result.best_step == 20

    groups = [
        {"params": [p for p in native.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in native.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    if optimizer == "adamw":
        by_hand: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=1.0)
    else:
        by_hand = torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True)
    for step, (x, y) in enumerate(batches(source, tmp_path, 20)):
        rate = (step + 1) / 6 if step < 5 else (1 + np.cos(np.pi * (step - 5) / 15)) / 2
        for group in by_hand.param_groups:
            group["lr"] = 0.01 * rate
        by_hand.zero_grad()
        F.cross_entropy(native(x), y).backward()
        nn.utils.clip_grad_norm_(native.parameters(), 0.5)
        by_hand.step()
    for (name, trained), parameter in zip(weights(m).items(), native.parameters(), strict=True):
        np.testing.assert_allclose(trained, parameter.detach().numpy(), atol=1e-6, err_msg=name)


def test_running_statistics_are_those_of_torchs_batch_norm(tmp_path):
    m, source = normed(), blobs()
    first = torch.from_numpy(weights(m)["W"].copy())
    fit(m, source, "cross-entropy", tmp_path, options(steps=1, learning_rate=1e-4))
    norm = nn.BatchNorm1d(6)
    norm(batches(source, tmp_path, 1)[0][0] @ first)
    np.testing.assert_allclose(weights(m)["mean"], norm.running_mean.numpy(), atol=1e-6)
    np.testing.assert_allclose(weights(m)["var"], norm.running_var.numpy(), rtol=1e-5)


def test_frozen_statistics_and_weights_stay(tmp_path):
    m = normed()
    before = {name: array.copy() for name, array in weights(m).items()}
    fit(m, blobs(), "cross-entropy", tmp_path, options(batch_norm="freeze", freeze=("W", "[gb]")))
    after = weights(m)
    assert {name for name in after if not np.array_equal(before[name], after[name])} == {"V"}
    with pytest.raises(UsageError, match=r"freeze: 'none\*' matches no weight"):
        fit(m, blobs(), "cross-entropy", tmp_path, options(freeze=("none*",)))


def test_the_score_told_is_the_score_of_the_model_returned(tmp_path):
    m, source = mlp(), blobs(400)
    result = fit(
        m, source, "cross-entropy", tmp_path, options(steps=60, learning_rate=0.01), metric=parse_metric("top1")
    )
    (tmp_path / "twin").mkdir()
    samples = TrainingSamples(source, Resources(workdir=tmp_path / "twin"), held_out=0.1, batch=16)
    held = samples.at(samples.held)
    accuracy = (answers(m, held.feeds["x"]).argmax(1) == held.labels).mean()
    assert result.best == pytest.approx(accuracy, abs=1e-12)
    assert result.best > result.initial
    assert [row["step"] for row in result.history] == [0, 22, 44, 60]
    assert max(row["held_out"] for row in result.history) == result.best


def test_a_student_comes_close_to_its_teacher_without_labels(tmp_path):
    student, teacher = mlp(1), mlp(2)
    source = Arrays({"x": classes(300)[0]})
    x = classes(100, seed=5)[0]
    far = np.abs(answers(student, x) - answers(teacher, x)).mean()
    o = options(steps=200, learning_rate=0.02)
    result = fit(student, source, "mse", tmp_path, o, teachers=(teacher,), metric=parse_metric("top1"))
    assert np.abs(answers(student, x) - answers(teacher, x)).mean() < far / 4
    assert result.best < result.initial / 10
    assert sorted(p.name for p in tmp_path.iterdir()) == []


def test_features_of_other_widths_are_met_through_an_adapter(tmp_path):
    student, teacher = mlp(1, width=4), mlp(2, width=32)
    names = set(weights(student))
    o = options(steps=100, learning_rate=0.02)
    result = fit(student, blobs(), "features:student=Relu_1", tmp_path, o, teachers=(teacher,))
    assert result.best < result.initial / 2
    assert set(weights(student)) == names
    (note,) = result.notes
    assert note.kind == "skipped" and "W2, b2" in note.text


def test_weights_that_came_in_stay_where_training_only_does_harm(tmp_path):
    m = mlp()
    fit(m, blobs(), "cross-entropy", tmp_path, options(steps=100, learning_rate=0.02))
    before = {name: array.tobytes() for name, array in weights(m).items()}
    result = fit(m, blobs(), "cross-entropy", tmp_path, options(optimizer="sgd", learning_rate=1e4, clip_norm=0))
    assert {name: array.tobytes() for name, array in weights(m).items()} == before
    assert result.best_step == 0 and result.best == result.initial
    assert any("the weights that came in" in note.text and note.kind == "warning" for note in result.notes)


def test_training_ends_when_patience_does(tmp_path):
    o = options(steps=1000, evaluate_every=5, patience=3, optimizer="sgd", learning_rate=100.0)
    result = fit(mlp(), blobs(), "cross-entropy", tmp_path, o)
    assert result.steps - result.best_step == 15 and result.steps < 1000


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    body = "h = Dropout <seed = 3> (x, ratio, yes) y = Gemm <transB = 1> (h, W1, b1)"
    arrays = {
        "W1": RNG.standard_normal((3, 8)).astype(np.float32),
        "b1": np.zeros(3, np.float32),
        "ratio": np.float32(0.5),
        "yes": np.array(True),
    }

    def trained(seed: int) -> list[bytes]:
        m = model(body, arrays, "float[N, 8] x", "float[N, 3] y")
        torch.rand(seed + 3)  # the state that torch is in does not matter
        fit(m, blobs(), "cross-entropy", tmp_path, options(learning_rate=0.01), seed=seed)
        return [array.tobytes() for array in weights(m).values()]

    assert trained(1) == trained(1) != trained(2)


def test_torchs_global_state_is_as_it_was(tmp_path):
    torch.manual_seed(7)
    want = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    fit(mlp(), blobs(), "cross-entropy", tmp_path, options(), threads=threads + 1)
    assert torch.equal(torch.rand(3), want)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_constraint_holds_after_every_step(tmp_path):
    m = mlp()
    mask = torch.from_numpy(RNG.random((16, 8)) < 0.5)
    seen = []

    def constraint(named):
        named["W1"].mul_(mask)
        seen.append(float(named["b2"].abs().sum()))

    fit(m, blobs(), "cross-entropy", tmp_path, options(), constraint=constraint)
    assert len(seen) == len(set(seen)) == 10
    assert (weights(m)["W1"][~mask.numpy()] == 0).all() and (weights(m)["W1"][mask.numpy()] != 0).all()


def test_a_loss_that_is_not_finite_at_once_names_the_node(tmp_path):
    arrays = {"W": np.zeros((8, 8), np.float32), "V": np.ones((8, 3), np.float32)}
    m = model("z = MatMul(x, W) l = Log(z) y = MatMul(l, V)", arrays, "float[N, 8] x", "float[N, 3] y")
    with pytest.raises(ModelError, match=r"cannot start: the loss is nan, node 'Log_1' is the first"):
        fit(m, blobs(), "cross-entropy", tmp_path, options())


def test_a_loss_that_becomes_nan_ends_training_with_the_best_weights(tmp_path):
    m = mlp()

    def broken(named):
        calls.append(1)
        if len(calls) == 7:
            named["W1"].fill_(float("inf"))

    calls: list[int] = []
    o = options(steps=20, evaluate_every=1, learning_rate=0.01)
    result = fit(m, blobs(), "cross-entropy", tmp_path, o, constraint=broken)
    assert result.steps == 7 and 0 < result.best_step < 7
    (note,) = result.notes
    assert note.kind == "warning"
    assert note.text.startswith("training stopped at step 8 of 20: the loss is nan, node 'Gemm_0'")
    assert all(np.isfinite(array).all() for array in weights(m).values())


def test_integer_graphs_and_weightless_losses_are_refused(tmp_path):
    with pytest.raises(ModelError, match="the graph has no float weights"):
        fit(model("y = Relu(x)", {}, "float[N, 8] x", "float[N, 8] y"), blobs(), "cross-entropy", tmp_path, options())
    arrays = {"W": np.ones((8, 3), np.float32)}
    m = model("y = Relu(x) z = MatMul(x, W)", arrays, "float[N, 8] x", "float[N, 8] y, float[N, 3] z")
    with pytest.raises(ModelError, match="depend on no weight"):
        fit(m, blobs(), "mse:output=y", tmp_path, options(), teachers=(m.clone(),))


def test_a_model_with_a_fixed_batch_trains_with_it(tmp_path):
    x, y = classes(50)
    arrays = {name: array.copy() for name, array in weights(mlp()).items()}
    body = "h = Gemm <transB = 1> (x, W1, b1) a = Relu(h) y = Gemm <transB = 1> (a, W2, b2)"
    m = model(body, arrays, "float[4, 8] x", "float[4, 3] y")
    source = Arrays({"x": x}, y, batch=4)
    o = options(steps=None, epochs=3, train_batch=64, learning_rate=0.01)
    result = fit(m, source, "cross-entropy", tmp_path, o, metric=parse_metric("top1"))
    assert result.steps == 33 and result.best >= result.initial
    assert [note.text for note in result.notes] == ["trained with 4 samples a step: the model's batch is fixed"]
    losses = [row["loss"] for row in result.history[1:]]
    assert losses[-1] < losses[0]


def test_pairs_are_judged_by_their_metric_and_trained_towards_the_teacher(tmp_path):
    x = classes(120)[0]
    student, teacher = mlp(1), mlp(2)
    z = answers(teacher, x)
    source = Pairs({"x": x}, (z[0::2] * z[1::2]).sum(1))
    o = options(steps=200, learning_rate=0.02, held_out=0.3)
    result = fit(student, source, "cosine", tmp_path, o, teachers=(teacher,), metric=parse_metric("spearman"))
    assert result.best > max(0.5, result.initial)  # of 18 pairs: chance has a standard error of 1 / √17, or 0.24


def test_images_are_varied_and_others_are_not(tmp_path):
    x = RNG.standard_normal((64, 1, 8, 8)).astype(np.float32)
    shapes = {"W": (4, 1, 3, 3), "V": (4, 2)}
    body = "c = Conv <pads = [1,1,1,1]> (x, W) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) y = MatMul(f, V)"

    def net(seed: int) -> ir.Model:
        rng = np.random.default_rng(seed)
        arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        return model(body, arrays, "float[N, 1, 8, 8] x", "float[N, 2] y")

    def trained(**given) -> bytes:
        m = net(1)
        result = fit(m, Arrays({"x": x}), "mse", tmp_path, options(learning_rate=0.02, **given), teachers=(net(2),))
        assert result.best_step > 0
        return weights(m)["W"].tobytes()

    assert trained(augment=("flip", "crop")) == trained(augment=("flip", "crop")) != trained()
    with pytest.raises(UsageError, match="augment: flip needs images"):
        fit(mlp(), blobs(), "cross-entropy", tmp_path, options(augment=("flip",)))


def test_scales_of_fake_quantization_train_in_steps_of_their_own_size(tmp_path):
    w = RNG.standard_normal((8, 3)).astype(np.float32)
    arrays = {"W": w, "s": np.float32(0.05), "z": np.uint8(128), "sw": np.abs(w).max(0) / 7, "zw": np.zeros(3, np.int8)}
    body = """
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        i = QuantizeLinear <axis = 1> (W, sw, zw) r = DequantizeLinear <axis = 1> (i, sw, zw) y = MatMul(d, r)
    """
    m = model(body, arrays, "float[N, 8] x", "float[N, 3] y")
    result = fit(m, blobs(), "cross-entropy", tmp_path, options(steps=50, learning_rate=0.01))
    assert result.best < result.initial and result.best_step > 0
    ratios = [weights(m)["s"] / arrays["s"], *(weights(m)["sw"] / arrays["sw"])]
    assert all(ratio != 1 and 0.5 < ratio < 2 for ratio in ratios)  # 50 steps of 1 %, or 1.4 % by the power of two
    assert answers(m, blobs().first(4)["x"]).shape == (4, 3)


def test_memory_does_not_grow_with_steps(tmp_path):
    counts = []

    class Counting(Silent):
        def track(self, items, description, total=None):
            for item in items:
                if callable(description) and item in (20, 60):
                    gc.collect()
                    counts.append(sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects()))
                yield item

    o = options(steps=61, checkpoint_every=7, evaluate_every=5)
    fit(mlp(1), blobs(), "kl", tmp_path, o, teachers=(mlp(2),), progress=Counting())
    assert counts[0] == counts[1]


def test_tokens_and_pairs_are_learned_without_labels(tmp_path):
    text = np.tile(np.arange(6), 40)[: 32 * 7].reshape(32, 7)
    table = RNG.standard_normal((6, 6)).astype(np.float32) / 10
    m = model("y = Gather(E, input_ids)", {"E": table}, "int64[N, 7] input_ids", "float[N, 7, 6] y")
    fit(m, Arrays({"input_ids": text}), "next-token", tmp_path, options(steps=60, learning_rate=0.1))
    assert (weights(m)["E"].argmax(axis=1) == (np.arange(6) + 1) % 6).all()

    seen = RNG.standard_normal((40, 8)).astype(np.float32)
    both = np.stack([seen, seen + RNG.standard_normal(seen.shape).astype(np.float32)], axis=1).reshape(80, 8)
    small = mlp()
    before = _told_apart(small, both)
    fit(small, Pairs({"x": both}), "contrastive:temperature=0.2", tmp_path, options(steps=60, learning_rate=0.01))
    assert _told_apart(small, both) > before


def _told_apart(m: ir.Model, pairs: np.ndarray) -> float:
    """Return the share of first members whose own partner is the nearest of all."""
    y = answers(m, pairs)
    unit = y / np.linalg.norm(y, axis=1, keepdims=True)
    cosines = unit[0::2] @ unit[1::2].T
    return float((cosines.argmax(axis=1) == np.arange(len(cosines))).mean())
