"""The metrics: how good a model's answers are. Each is a class that says all that there is to it: see `measure.metric`.

The table is cheap to import, as the command line reads it for `--help`: a metric's module is imported when it is asked
for.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

from compressctl.errors import UsageError, nearest

if TYPE_CHECKING:
    from compressctl.measure.metric import Metric, OutputMetric
    from compressctl.measure.metrics.detection import MeanAveragePrecision

METRICS = {
    "top1": "classification.Top1",
    "top5": "classification.Top5",
    "f1": "classification.F1",
    "f1_binary": "classification.BinaryF1",
    "matthews": "classification.Matthews",
    "map": "detection.MeanAveragePrecision",
    "map50": "detection.MeanAveragePrecision50",
    "miou": "segmentation.MeanIou",
    "dice": "segmentation.Dice",
    "roc_auc": "ranking.RocAuc",
    "average_precision": "ranking.AveragePrecision",
    "si_sdr": "signals.SiSdr",
    "snr": "signals.Snr",
    "wer": "transcription.WordErrorRate",
    "cer": "transcription.CharacterErrorRate",
    "psnr": "error.Psnr",
    "spearman": "correlation.Spearman",
    "pearson": "correlation.Pearson",
    "recall@10": "retrieval.Recall",
    "ndcg@10": "retrieval.Ndcg",
    "perplexity": "language.Perplexity",
    "mse": "error.Mse",
}
"""Name -> module and class, in the order in which `init` prefers those that fit."""

OWN = "python:module:function"  # a metric of the user's own
_PYTHON = "python"
_RANKS = re.compile(r"(recall|ndcg)@[1-9][0-9]{0,5}")  # how many ranks count; the table has the usual number


def parse_metric(notation: str, *, allow_python: bool = False) -> Metric:
    """Return the metric of `name[:output]` or `python:module:function`.

    Raises:
        UsageError: there is no such metric, or `python:` is used without leave.
        DataError: the function cannot be imported.
    """
    name, _, rest = notation.partition(":")
    if name == _PYTHON:
        from compressctl.data.python import load_function
        from compressctl.measure.metrics.python import PythonMetric

        return PythonMetric(notation, load_function(rest, allow_python=allow_python))
    kind = metric_class(notation)
    if kind is None:
        hint = nearest(name, METRICS) or f"there are {', '.join([*METRICS, OWN])}"
        raise UsageError(f"there is no metric {name!r}", hint)
    return kind(notation, rest or None)


def metric_class(notation: str) -> type[OutputMetric] | type[MeanAveragePrecision] | None:
    """Return the class of the metric of `name[:…]`; None where it is not built in."""
    name = notation.partition(":")[0]
    ranked = _RANKS.fullmatch(name)
    place = METRICS.get(f"{ranked[1]}@10" if ranked else name)
    if place is None:
        return None
    module, _, kind = place.partition(".")
    found: type[OutputMetric] | type[MeanAveragePrecision] = getattr(import_module(f"{__name__}.{module}"), kind)
    return found


def is_share(notation: str) -> bool:
    """Return whether scores of a metric are shares, which are shown in percent."""
    kind = metric_class(notation)
    return kind is not None and kind.unit == "%"


def code_of(notation: str | None) -> str | None:
    """Return what names the user's code that a metric runs, as a data notation does; None of a built-in one."""
    return notation if notation is not None and notation.startswith(f"{_PYTHON}:") else None
