"""Losses against scikit-learn, scipy and the papers' formulas in numpy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import expit, rel_entr, softmax
from sklearn.metrics import log_loss

from compressctl.training import losses

RNG = np.random.default_rng(0)


def scores(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape) * 3


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


@pytest.mark.parametrize(
    ("shape", "labels", "axis"),
    [
        ((4, 5), (4,), 1),
        ((4, 5), (4, 1), 1),
        ((4, 5, 1, 1), (4,), 1),
        ((4, 5, 6, 7), (4, 6, 7), 1),
        ((4, 6, 5), (4, 6), 2),
        ((4, 6, 6), (4, 6), 1),
        ((4, 1), (4,), None),
        ((4, 5), (4, 5), None),
        ((4,), (4,), None),
    ],
)
def test_class_axis_is_the_one_that_labels_lack(shape, labels, axis):
    assert losses.class_axis(shape, labels) == axis


@pytest.mark.parametrize(("shape", "axis"), [((8, 5), 1), ((8, 5, 3, 2), 1), ((8, 3, 5), 2)])
def test_cross_entropy_is_scikit_learns_log_loss(shape, axis):
    x = scores(*shape)
    labels = RNG.integers(0, 5, [size for i, size in enumerate(shape) if i != axis])
    rows = np.moveaxis(x, axis, -1).reshape(-1, 5)
    want = log_loss(labels.ravel(), softmax(rows, axis=1), labels=range(5))
    assert float(losses.cross_entropy(tensor(x), tensor(labels), axis)) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("piece", [1, 7, 1 << 22])
def test_vocabularies_are_taken_piece_by_piece(monkeypatch, piece):
    """Values and gradients are those of the whole, whatever is computed at a time."""
    monkeypatch.setattr(losses, "_PIECE", piece)
    x, teacher = (torch.from_numpy(scores(3, 4, 5)).requires_grad_() for _ in range(2))
    labels = torch.tensor([[0, 1, -100, 3], [4, -100, 2, 1], [0, 0, 1, 2]])
    found = losses.cross_entropy(x, labels, 2) + losses.kl(x, teacher, 2, 2.0)
    rows, soft = x.reshape(12, 5), (teacher.reshape(12, 5) / 2).log_softmax(1)
    kept = labels.reshape(-1) >= 0
    picked = rows[kept].log_softmax(1).gather(1, labels.reshape(-1)[kept, None])
    want = -picked.mean() + 4 * (soft.exp() * (soft - (rows / 2).log_softmax(1))).sum(1).mean()
    ours, theirs = (torch.autograd.grad(value, (x, teacher), retain_graph=True) for value in (found, want))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=0)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_the_next_token_is_told_where_both_are_read():
    x, tokens = scores(2, 4, 5), np.array([[1, 2, 3, 4], [4, 3, 0, 0]])
    counted = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    rows, told = np.concatenate([x[0, :3], x[1, :1]]), [2, 3, 4, 3]
    want = log_loss(told, softmax(rows, axis=1), labels=range(5))
    assert float(losses.next_token(tensor(x), tensor(tokens), tensor(counted))) == pytest.approx(want, rel=1e-9)


def test_contrastive_is_cross_entropy_of_cosines_both_ways():
    vectors, others = scores(6, 3), scores(6, 3)
    cosines = 1 - cdist(vectors, others, "cosine")
    ways = [log_loss(range(6), softmax(table / 0.1, axis=1), labels=range(6)) for table in (cosines, cosines.T)]
    assert float(losses.contrastive(tensor(vectors), tensor(others), 0.1)) == pytest.approx(np.mean(ways), rel=1e-9)


def test_cross_entropy_leaves_out_labels_of_minus_100():
    x, labels = scores(6, 5), np.array([0, 1, -100, 3, -100, 2])
    kept = labels >= 0
    want = losses.cross_entropy(tensor(x[kept]), tensor(labels[kept]), 1)
    assert float(losses.cross_entropy(tensor(x), tensor(labels), 1)) == pytest.approx(float(want), rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kl_is_the_relative_entropy_times_the_squared_temperature(temperature):
    student, teacher = scores(6, 4, 3), scores(6, 4, 3)
    p, q = (softmax(x / temperature, axis=2) for x in (teacher, student))
    want = rel_entr(p, q).sum(axis=2).mean() * temperature**2
    assert float(losses.kl(tensor(student), tensor(teacher), 2, temperature)) == pytest.approx(want, rel=1e-9)


def test_kl_stays_finite_where_probabilities_vanish():
    student = torch.tensor([[0.0, -2000.0]], requires_grad=True)
    loss = losses.kl(student, torch.tensor([[-2000.0, 0.0]]), 1, 1.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2000.0)
    assert student.grad.tolist() == [[1.0, -1.0]]


def test_bce_is_scikit_learns_log_loss_of_each_label():
    x, labels = scores(7, 3), RNG.integers(0, 2, (7, 3))
    want = np.mean([log_loss(labels[:, i], expit(x[:, i]), labels=[0, 1]) for i in range(3)])
    assert float(losses.bce(tensor(x), tensor(labels))) == pytest.approx(want, rel=1e-9)


def test_mse_takes_labels_with_dimensions_of_one():
    x, labels = scores(5, 1), scores(5)
    assert float(losses.mse(tensor(x), tensor(labels))) == pytest.approx(np.square(x[:, 0] - labels).mean(), rel=1e-12)


def test_cosine_is_scipys_distance_of_rows():
    a, b = scores(6, 9), scores(6, 9)
    want = np.diag(cdist(a, b, "cosine")).mean()
    assert float(losses.cosine(tensor(a), tensor(b))) == pytest.approx(want, rel=1e-9)


def test_features_map_channels_by_the_adapter_and_pool_to_the_smaller_size():
    student, teacher, adapter = scores(2, 3, 4, 4), scores(2, 5, 2, 2), scores(5, 3)
    pooled = student.reshape(2, 3, 2, 2, 2, 2).mean(axis=(3, 5))
    want = np.square(np.einsum("tc,nchw->nthw", adapter, pooled) - teacher).mean()
    assert float(losses.features(tensor(student), tensor(teacher), tensor(adapter))) == pytest.approx(want, rel=1e-9)


def test_features_of_sequences_have_their_channels_last():
    student, teacher, adapter = scores(2, 6, 3), scores(2, 3, 5), scores(5, 3)
    pooled = student.reshape(2, 3, 2, 3).mean(axis=2)
    want = np.square(pooled @ adapter.T - teacher).mean()
    assert float(losses.features(tensor(student), tensor(teacher), tensor(adapter))) == pytest.approx(want, rel=1e-9)


def test_attention_maps_are_averaged_over_heads_where_their_numbers_differ():
    student, teacher = softmax(scores(2, 3, 4, 4), axis=3), softmax(scores(2, 6, 4, 4), axis=3)
    want = np.square(student.mean(axis=1) - teacher.mean(axis=1)).mean()
    assert float(losses.attention_maps(tensor(student), tensor(teacher))) == pytest.approx(want, rel=1e-9)
    same = teacher[:, :3]
    want = np.square(student - same).mean()
    assert float(losses.attention_maps(tensor(student), tensor(same))) == pytest.approx(want, rel=1e-9)


def test_attention_transfer_compares_normalised_maps_of_squared_activations():
    student, teacher = scores(2, 3, 4, 5), scores(2, 7, 4, 5)
    maps = [np.square(x).sum(axis=1).reshape(2, -1) for x in (student, teacher)]
    unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in maps]
    want = np.square(unit[0] - unit[1]).mean()
    assert float(losses.attention_transfer(tensor(student), tensor(teacher))) == pytest.approx(want, rel=1e-9)
