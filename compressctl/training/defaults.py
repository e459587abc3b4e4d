"""The losses of a training whose recipe names none, by what outputs and labels are."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.source import Source
from compressctl.errors import DataError, UsageError
from compressctl.measure.metric import Metric
from compressctl.measure.metrics.classification import ClassMetric
from compressctl.measure.session import Session
from compressctl.model.ops import SOFTMAX
from compressctl.model.scores import score_outputs
from compressctl.resources import Resources
from compressctl.training.losses import class_axis, squeezed
from compressctl.training.options import LossTerm

_ROWS = 8
_SOFT, _HARD = 0.9, 0.1  # weights of teacher and labels where there are both


def default_losses(
    model: ir.Model,
    source: Source,
    resources: Resources,
    metric: Metric | None = None,
    *,
    teacher: bool,
) -> tuple[LossTerm, ...]:
    """Choose the losses; the model is run on a few samples to see its outputs.

    With a teacher every output of floats comes close to the teacher's: class scores by kl, others by mse. Class scores
    are what fits the labels, what a Softmax gives, what a metric of classes judges, or logits over a vocabulary. Where
    there are class labels, a tenth of the weight goes to cross-entropy. Without a teacher: next-token for logits over a
    vocabulary, unless there are labels; cross-entropy with class labels, mse with others.

    Raises:
        DataError: there is neither a teacher nor labels that fit an output.
        UsageError: labels fit several outputs, and the metric does not say which is meant.
    """
    batch = next(source.batches(_ROWS))
    outputs = Session(model, threads=resources.threads, workdir=resources.workdir).run(batch.feeds)
    floats = {name: array for name, array in outputs.items() if array.dtype.kind == "f" and array.ndim}
    labels = batch.labels if source.labels_rows else None
    judged = _judged(floats, labels, metric)
    told = [name for name, found in score_outputs(model).items() if found.words and name in floats]
    if not teacher and labels is None and told:
        return (LossTerm(loss="next-token", output=_named(told[0], floats)),)
    if not teacher:
        return (_on_labels(floats, labels, judged, metric, source),)
    soft = {value.name for value in model.graph.outputs if (n := value.producer()) and n.op_type in SOFTMAX}
    terms = []
    for name, array in floats.items():
        is_classes = name == judged or name in soft or name in told or _judges_classes(metric, name, array)
        weight = _SOFT if name == judged else 1.0
        terms.append(LossTerm(loss="kl" if is_classes else "mse", weight=weight, output=_named(name, floats)))
    if not terms:
        raise DataError("the model has no outputs of floats that a loss could compare", "name losses between nodes")
    if judged is not None:
        terms.append(LossTerm(loss="cross-entropy", weight=_HARD, output=_named(judged, floats)))
    return tuple(terms)


def _judged(outputs: dict[str, Array], labels: Array | None, metric: Metric | None) -> str | None:
    """Return the output whose classes the labels are, or None."""
    if labels is None or not (labels.dtype.kind in "iu" or isinstance(metric, ClassMetric)):
        return None
    fitting = [name for name, array in outputs.items() if class_axis(array.shape, labels.shape) is not None]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    if metric is not None and metric.output in fitting:
        return metric.output
    raise UsageError(
        f"the labels could be classes of the outputs {', '.join(fitting)}",
        f"name one: cross-entropy:output={fitting[0]}",
    )


def _on_labels(
    outputs: dict[str, Array], labels: Array | None, judged: str | None, metric: Metric | None, source: Source
) -> LossTerm:
    if labels is None:
        raise DataError(
            f"{source.notation}: the training samples have no labels to train on",
            "name them in the data (labels=NAME in a .npz), or train towards a teacher",
        )
    if judged is not None:
        return LossTerm(loss="cross-entropy", output=_named(judged, outputs))
    fitting = [name for name, array in outputs.items() if squeezed(array.shape) == squeezed(labels.shape)]
    if len(fitting) > 1 and metric is not None and metric.output in fitting:
        fitting = [metric.output or ""]
    if len(fitting) == 1:
        return LossTerm(loss="mse", target="labels", output=_named(fitting[0], outputs))
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    raise DataError(
        f"{source.notation}: labels {list(labels.shape)} of {labels.dtype} fit {len(fitting)} outputs: {shapes}",
        "name a loss, e.g. mse:target=labels,output=NAME",
    )


def _judges_classes(metric: Metric | None, name: str, output: Array) -> bool:
    if not isinstance(metric, ClassMetric) or metric.output not in (None, name):
        return False
    shape = squeezed(output.shape)
    return len(shape) == 2 and shape[1] > 1


def _named(name: str, outputs: dict[str, Array]) -> str | None:
    """Return the name of an output where it has to be said."""
    return name if len(outputs) > 1 else None
