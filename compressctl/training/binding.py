"""What a loss term compares: values of the trained graph with labels, or with values of its teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from torch import Tensor

from compressctl.data.decoding import token_ids
from compressctl.errors import DataError, ModelError, UsageError
from compressctl.model.ops import SOFTMAX
from compressctl.torchexec.tensors import to_numpy
from compressctl.training import losses
from compressctl.training.features import Scores, is_softmax, node_named, node_value, scores
from compressctl.training.options import LossTerm
from compressctl.training.teacher import Names

_ACTIVATIONS = {"cross-entropy": SOFTMAX, "next-token": SOFTMAX, "kl": SOFTMAX, "bce": frozenset({"Sigmoid"})}
_Shape = Sequence[int]


@dataclass(frozen=True)
class Comparison:
    """A loss term with the values that it compares.

    Attributes:
        term: the term.
        student: the value of the trained graph.
        teachers: the value of each teacher; () where the labels are the target.
        axis: the class axis of cross-entropy and kl, else None.
        tokens: of next-token, the input whose tokens are told; else "".
        maps: attention maps (outputs of Softmax) are compared.
    """

    term: LossTerm
    student: str
    teachers: Names = ()
    axis: int | None = None
    tokens: str = ""
    maps: bool = False


def watched(model: ir.Model, terms: Sequence[LossTerm]) -> list[str]:
    """Return the values of a graph, beside its outputs, that the terms may read.

    Raises:
        ModelError: a node that a term names does not exist.
    """
    names = [node_value(node_named(model, t.student, "the trained model")) for t in terms if t.student is not None]
    for activations in {_ACTIVATIONS[term.loss] for term in terms if term.loss in _ACTIVATIONS}:
        names += [scores(model, value.name or "", activations).value for value in model.graph.outputs]
    outputs = {value.name for value in model.graph.outputs}
    return [name for name in dict.fromkeys(names) if name not in outputs]


def bind(
    terms: Sequence[LossTerm],
    model: ir.Model,
    teachers: Sequence[ir.Model],
    values: Mapping[str, Tensor],
    labels: Tensor | None,
    preferred: str | None = None,
    feeds: Mapping[str, Tensor] | None = None,
    paired: bool = False,
) -> list[Comparison]:
    """Find what each term compares.

    Args:
        terms: the terms.
        model: the graph that is trained.
        teachers: its teachers.
        values: the graph's outputs, and the values `watched`, on a batch.
        labels: the labels of that batch; None where rows have none.
        preferred: of several outputs that fit, the one to take: what the metric judges.
        feeds: what the graph was fed.
        paired: whether rows 2i and 2i + 1 are pairs.

    Raises:
        UsageError: a term needs a teacher and there is none, an output does not exist, or several fit.
        DataError: labels are missing, or fit no output.
        ModelError: a node or output is missing in a teacher.
    """
    tokens = _tokens(feeds or {})
    for term in terms:
        if term.aim == "pairs" and not paired:
            hint = f"give pairs (pairs=true), or {term.loss}:target=teacher"
            raise DataError(f"loss {term}: needs pairs, and the training samples are none", hint)
        if term.aim == "tokens" and tokens is None:
            raise DataError(f"loss {term}: needs a model of token ids [N, T], and this one takes none")
    return [_bound(term, model, teachers, values, labels, preferred, tokens) for term in terms]


def _bound(
    term: LossTerm,
    model: ir.Model,
    teachers: Sequence[ir.Model],
    values: Mapping[str, Tensor],
    labels: Tensor | None,
    preferred: str | None,
    tokens: tuple[str, _Shape] | None,
) -> Comparison:
    if term.aim == "teacher" and not teachers:
        raise UsageError(f"loss {term}: needs a teacher, and there is none", "name one, or use a loss on labels")
    if term.aim == "labels" and labels is None:
        raise DataError(
            f"loss {term}: needs labels, and the training samples have none for each row",
            "name them in the data (labels=NAME in a .npz), or use a loss on the teacher: kl, mse, cosine",
        )
    if term.between_nodes:
        return _nodes(term, model, teachers)
    output = _output(term, model, values, labels, preferred, tokens)
    activations = _ACTIVATIONS.get(term.loss, frozenset())
    found = scores(model, output, activations)
    if term.aim == "tokens" and tokens is not None:
        return Comparison(term, found.value, axis=2, tokens=tokens[0])
    if term.aim == "pairs":
        return Comparison(term, found.value)
    shape = values[found.value].shape
    axis = _class_axis(found, shape, labels) if term.loss in ("cross-entropy", "kl") else None
    if term.aim == "labels":
        return Comparison(term, found.value, axis=axis)
    names = tuple(scores(teacher, _output_of(teacher, output), activations).value for teacher in teachers)
    return Comparison(term, found.value, names, axis)


def _tokens(feeds: Mapping[str, Tensor]) -> tuple[str, _Shape] | None:
    """Return the input of token ids, with their shape; None where there is none."""
    name = token_ids({name: to_numpy(tensor) for name, tensor in feeds.items()})
    return None if name is None else (name, feeds[name].shape)


def _nodes(term: LossTerm, model: ir.Model, teachers: Sequence[ir.Model]) -> Comparison:
    own = node_named(model, term.student or "", "the trained model")
    theirs = [node_named(teacher, term.teacher or term.student or "", "the teacher") for teacher in teachers]
    kinds = {is_softmax(node) for node in (own, *theirs)}
    if term.loss == "attention" and len(kinds) > 1:
        raise ModelError(f"loss {term}: one of the nodes is a Softmax, whose attention maps have no counterpart")
    return Comparison(term, node_value(own), tuple(map(node_value, theirs)), maps=kinds == {True})


def _output(
    term: LossTerm,
    model: ir.Model,
    values: Mapping[str, Tensor],
    labels: Tensor | None,
    preferred: str | None,
    tokens: tuple[str, _Shape] | None,
) -> str:
    outputs = [value.name or "" for value in model.graph.outputs]
    if term.output is not None and term.output not in outputs:
        raise UsageError(f"loss {term}: there is no output {term.output!r}", f"there are {', '.join(outputs)}")
    told = tokens[1] if term.aim == "tokens" and tokens is not None else None
    fitting = [
        name for name in outputs if values[name].is_floating_point() and _fits(term, values[name].shape, labels, told)
    ]
    if term.output in fitting:
        return term.output or ""
    if term.output is None and len(fitting) == 1:
        return fitting[0]
    if term.output is None and preferred in fitting:
        return preferred or ""
    if fitting and term.output is None:
        raise UsageError(
            f"loss {term}: could be of the outputs {', '.join(fitting)}", f"name one: {term.loss}:output={fitting[0]}"
        )
    shapes = ", ".join(f"{name} {list(values[name].shape)}" for name in outputs)
    against = f" and labels {list(labels.shape)}" if term.aim == "labels" and labels is not None else ""
    raise DataError(
        f"loss {term}: {'no output fits' if term.output is None else f'{term.output!r} does not fit'}",
        f"a batch gave {shapes}{against}",
    )


def _fits(term: LossTerm, shape: _Shape, labels: Tensor | None, tokens: _Shape | None) -> bool:
    if term.loss == "next-token":
        return len(shape) == 3 and shape[2] > 1 and list(shape[:2]) == list(tokens or ())
    if term.loss == "contrastive":
        return len(shape) == 2 and shape[1] > 1
    if term.loss == "cross-entropy":
        return labels is not None and losses.class_axis(shape, labels.shape) is not None
    if term.aim == "labels":
        return labels is not None and losses.squeezed(shape) == losses.squeezed(labels.shape)
    return term.loss != "kl" or len(shape) > 1


def _class_axis(found: Scores, shape: _Shape, labels: Tensor | None) -> int:
    """Return the class axis: the Softmax's, or by the labels' shape, else the last of [N, L, C] and 1 of all others."""
    if found.axis is not None:
        return found.axis % len(shape)
    by_labels = None if labels is None else losses.class_axis(shape, labels.shape)
    if by_labels is not None:
        return by_labels
    return 2 if len(shape) == 3 else 1


def _output_of(teacher: ir.Model, output: str) -> str:
    """Return the teacher's output of that name, or its only one."""
    names = [value.name or "" for value in teacher.graph.outputs]
    if output in names:
        return output
    if len(names) == 1:
        return names[0]
    raise ModelError(f"the teacher has no output {output!r}", f"it has {', '.join(names)}")
