"""The weighted sum of the losses of a batch, with the adapters that are trained along to compute it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressctl.data.decoding import tokens_read
from compressctl.errors import DataError, ModelError
from compressctl.torchexec.module import GraphModule
from compressctl.torchexec.tensors import to_numpy
from compressctl.training import losses
from compressctl.training.binding import Comparison
from compressctl.training.options import LossTerm
from compressctl.training.teacher import Names


class Objective(nn.Module):
    """The weighted sum of the losses of a batch, as a module that torch can distribute.

    Args:
        student: the graph that is trained.
        comparisons: what is compared.
        values, targets: the student's and the teachers' values on a batch, which give the sizes of adapters.
        seed: of the adapters' initial values.

    Raises:
        ModelError: values of student and teacher that cannot be compared.
    """

    def __init__(
        self,
        student: GraphModule,
        comparisons: Sequence[Comparison],
        values: Mapping[str, Tensor],
        targets: Mapping[Names, Tensor],
        seed: int,
    ) -> None:
        super().__init__()
        self.student = student
        self.comparisons = tuple(comparisons)
        self.adapters = nn.ParameterDict()
        generator = torch.Generator().manual_seed(seed)
        for index, comparison in enumerate(comparisons):
            if not comparison.teachers:
                continue
            value, target = values[comparison.student], targets[comparison.teachers]
            _require_comparable(comparison, value.shape, target.shape)
            if comparison.term.loss == "features":
                wide, wanted = (shape[losses.channel_axis(len(shape))] for shape in (value.shape, target.shape))
                if wide != wanted:
                    start = torch.randn((wanted, wide), generator=generator) / math.sqrt(wide)
                    self.adapters[str(index)] = nn.Parameter(start.to(value.device))

    def forward(self, feeds: Mapping[str, Tensor], targets: Mapping[Names, Tensor], labels: Tensor | None) -> Tensor:
        """Run the graph and return the loss, a scalar."""
        return self.loss(self.student(feeds), feeds, targets, labels)

    def loss(
        self,
        values: Mapping[str, Tensor],
        feeds: Mapping[str, Tensor],
        targets: Mapping[Names, Tensor],
        labels: Tensor | None,
    ) -> Tensor:
        """Return the loss of values that the graph gave for feeds, a scalar.

        Raises:
            DataError: labels that are not classes.
        """
        terms = enumerate(self.comparisons)
        parts = [one.term.weight * self._part(index, one, values, feeds, targets, labels) for index, one in terms]
        return torch.stack(parts).sum()

    def _part(
        self,
        index: int,
        one: Comparison,
        values: Mapping[str, Tensor],
        feeds: Mapping[str, Tensor],
        targets: Mapping[Names, Tensor],
        labels: Tensor | None,
    ) -> Tensor:
        value, kind = values[one.student].float(), one.term.loss
        if kind == "next-token":
            counted = tokens_read({name: to_numpy(tensor) for name, tensor in feeds.items()}, one.tokens)
            return losses.next_token(value, feeds[one.tokens], torch.from_numpy(counted).to(value.device))
        if kind == "contrastive":
            pairs = (value, targets[one.teachers].float()) if one.teachers else (value[0::2], value[1::2])
            return losses.contrastive(*pairs, one.term.softness)
        target = targets[one.teachers].float() if one.teachers else labels
        assert target is not None, "bound to labels"
        if kind == "cross-entropy":
            assert one.axis is not None
            require_classes(one.term, target, value.shape[one.axis])
            return losses.cross_entropy(value, target, one.axis)
        if kind == "kl":
            assert one.axis is not None
            return losses.kl(value, target, one.axis, one.term.softness)
        if kind == "bce":
            return losses.bce(value, target.sigmoid() if one.teachers else target)
        if kind == "features":
            return losses.features(value, target, self.adapters.get(str(index)))
        if kind == "attention":
            return (losses.attention_maps if one.maps else losses.attention_transfer)(value, target)
        return (losses.mse if kind == "mse" else losses.cosine)(value, target)


def _require_comparable(one: Comparison, student: Sequence[int], teacher: Sequence[int]) -> None:
    """Check that the term can compare these shapes."""
    kind, fits = one.term.loss, list(student) == list(teacher)
    if kind == "features":
        fits = len(student) == len(teacher) in (2, 3, 4)
    elif kind == "attention" and one.maps:
        skip = 2 if len(student) == len(teacher) == 4 else 1  # numbers of heads may differ
        fits = student[0] == teacher[0] and list(student[skip:]) == list(teacher[skip:])
    elif kind == "attention":
        fits = len(student) == len(teacher) == 4
    if not fits:
        raise ModelError(
            f"loss {one.term}: cannot compare {one.student!r} {list(student)} with the teacher's "
            f"{one.teachers[0]!r} {list(teacher)}",
            "name values that correspond",
        )


def require_classes(term: LossTerm, labels: Tensor, classes: int) -> None:
    """Check that labels are class indices below `classes`, or -100.

    Raises:
        DataError: one is not.
    """
    bad = (labels != losses.IGNORED) & ((labels < 0) | (labels >= classes))
    if labels.is_floating_point():
        bad |= labels != labels.floor()
    if bool(bad.any()):
        wrong = labels[bad].flatten()[0].item()
        raise DataError(f"loss {term}: label {wrong:g} is not a class: they are 0 to {classes - 1}", "mend the labels")
