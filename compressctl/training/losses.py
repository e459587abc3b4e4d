"""The losses, as functions of tensors. Each is a mean over the batch; sources stand beside their formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

IGNORED = -100  # a class label that is left out of the mean, as in torch
_PIECE = 1 << 22  # scores at a time, 16 MB: of a vocabulary, the softmax of all positions would be held several times


def class_axis(scores: Sequence[int], labels: Sequence[int]) -> int | None:
    """Return the axis of class scores that labels index, by shapes; None where the labels fit none.

    Scores [N, C], [N, C, d…] and [N, L, C] fit labels [N], [N, d…] and [N, L]; dimensions of 1 behind the first count
    for nothing. Where both axis 1 and the last one fit, it is axis 1.
    """
    for axis in dict.fromkeys((1, len(scores) - 1)):
        if len(scores) > 1 and scores[axis] > 1 and squeezed([*scores[:axis], *scores[axis + 1 :]]) == squeezed(labels):
            return axis
    return None


def squeezed(shape: Sequence[int]) -> list[int]:
    """Return a shape without the dimensions of 1 behind the first."""
    return [size for axis, size in enumerate(shape) if axis == 0 or size != 1]


def cross_entropy(scores: Tensor, labels: Tensor, axis: int) -> Tensor:
    """Return the mean of -log softmax(scores)[label]; labels of -100 are left out.

    Args:
        scores: class scores (logits), the classes along `axis`.
        labels: class indices, of the shape of `scores` without `axis`.
        axis: where the classes are.
    """
    rows, classes = _class_rows(scores, axis), labels.reshape(-1).long()
    if rows.numel() <= _PIECE:
        return F.cross_entropy(rows, classes, ignore_index=IGNORED)
    return _summed(_entropies, rows, classes) / (classes != IGNORED).sum()


def next_token(scores: Tensor, tokens: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of -log softmax(scores)[the next token].

    Args:
        scores: logits [N, T, V]; those at position t tell token t + 1.
        tokens: token ids [N, T].
        counted: whether a token may be told or told from, [N, T]: False at padding.
    """
    told = tokens[:, 1:].long().masked_fill(~(counted[:, 1:] & counted[:, :-1]), IGNORED)
    return cross_entropy(scores[:, :-1], told, 2)


def kl(student: Tensor, teacher: Tensor, axis: int, temperature: float) -> Tensor:
    """Return T² KL(softmax(teacher / T) || softmax(student / T)), averaged over all positions but the class axis.

    Source: Hinton, Vinyals and Dean 2015 (arXiv:1503.02531), section 2: T² keeps the size of the gradients.
    """
    rows, wanted = _class_rows(student, axis) / temperature, _class_rows(teacher, axis) / temperature
    mean = _divergences(rows, wanted) if rows.numel() <= _PIECE else _summed(_divergences, rows, wanted)
    return mean / len(rows) * temperature**2


def bce(scores: Tensor, probabilities: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of sigmoid(scores) with probabilities (or labels 0 and 1)."""
    return F.binary_cross_entropy_with_logits(scores, probabilities.reshape(scores.shape).to(scores.dtype))


def mse(student: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error."""
    return F.mse_loss(student, target.reshape(student.shape).to(student.dtype))


def cosine(student: Tensor, target: Tensor) -> Tensor:
    """Return the mean of 1 - cos of the angle between both, along the last axis."""
    return (1 - F.cosine_similarity(student, target.reshape(student.shape).to(student.dtype), dim=-1)).mean()


def contrastive(vectors: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Return how badly each vector is told from the others as the partner of its own: the mean of both directions.

    The cosines of all vectors with all others, divided by the temperature, are scores of classes; the right class is
    the one of the same row. Source: van den Oord et al. 2018 (arXiv:1807.03748), equation 4, negatives from the batch.

    Args:
        vectors: [N, D].
        others: [N, D].
        temperature: what cosines are divided by.
    """
    scores = F.normalize(vectors, dim=-1) @ F.normalize(others, dim=-1).T / temperature
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def features(student: Tensor, teacher: Tensor, adapter: Tensor | None = None) -> Tensor:
    """Return the mean squared error of features, after pooling both to their common spatial size.

    Args:
        student: [N, C, H, W], or [N, L, C], or [N, C].
        teacher: the same, with C' for C.
        adapter: [C', C], which maps the student's channels to the teacher's; None where widths are the same.

    Source: Romero et al. 2015 (arXiv:1412.6550), equation 3.
    """
    student, teacher = _pooled(student, teacher)
    if adapter is not None:
        axis = channel_axis(student.ndim)
        student = F.linear(student.movedim(axis, -1), adapter).movedim(-1, axis)
    return F.mse_loss(student, teacher)


def attention_maps(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared error of attention [N, H, L, L], averaged over heads where their numbers differ."""
    if student.ndim == 4 and student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(1), teacher.mean(1)
    return F.mse_loss(student, teacher)


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of where the activations [N, C, H, W] lie, whatever their channels.

    The map of a sample is the mean of the squares over the channels, divided by its L2 norm.
    Source: Zagoruyko and Komodakis 2017 (arXiv:1612.03928), equation 2 with p = 2, as in their code.
    """
    student, teacher = _pooled(student, teacher)
    where_student, where_teacher = (F.normalize(x.square().mean(1).flatten(1), dim=1) for x in (student, teacher))
    return F.mse_loss(where_student, where_teacher)


def channel_axis(rank: int) -> int:
    """Return the axis that channels lie along: 1 of images [N, C, H, W], else the last."""
    return 1 if rank == 4 else rank - 1


def _entropies(scores: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(scores, classes, ignore_index=IGNORED, reduction="sum")


def _divergences(student: Tensor, teacher: Tensor) -> Tensor:
    logs, target = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
    return F.kl_div(logs, target, reduction="sum", log_target=True)


def _summed(loss: Callable[[Tensor, Tensor], Tensor], rows: Tensor, others: Tensor) -> Tensor:
    """Return the sum of a loss over rows [positions, C], piece by piece; each is computed anew for the gradients."""
    size = max(1, _PIECE // rows.shape[1])
    pieces = zip(torch.split(rows, size), torch.split(others, size), strict=True)
    return torch.stack([checkpoint(loss, *piece, use_reentrant=False) for piece in pieces]).sum()


def _class_rows(scores: Tensor, axis: int) -> Tensor:
    """Return scores [positions, C]."""
    moved = scores.movedim(axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def _pooled(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average both down to the smaller of their sizes: H and W of [N, C, H, W], L of [N, L, C]."""
    if student.ndim == 4:
        height, width = map(min, student.shape[2:], teacher.shape[2:])
        return _to_size(student, height, width), _to_size(teacher, height, width)
    if student.ndim == 3 and student.shape[1] != teacher.shape[1]:
        length = min(student.shape[1], teacher.shape[1])
        return _to_length(student, length), _to_length(teacher, length)
    return student, teacher


def _to_size(x: Tensor, height: int, width: int) -> Tensor:
    return x if x.shape[2:] == (height, width) else F.adaptive_avg_pool2d(x, (height, width))


def _to_length(x: Tensor, length: int) -> Tensor:
    return F.adaptive_avg_pool1d(x.transpose(1, 2), length).transpose(1, 2)
