"""Metrics that are functions of the user's own: `python:module:function`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compressctl.arrays import Array
from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metric import Metric, Outputs


class PythonMetric(Metric):
    """The mean of what `function(outputs, labels)` returns: a number or bool for each sample, higher is better.

    It is called once a batch; `labels` is None where the data have none.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__(name)
        self._function = function

    def _judge(self, outputs: Outputs, batch: Batch) -> Array:
        try:
            values = np.asarray(self._function(outputs, batch.labels))
        except Exception as error:  # the user's function may raise anything
            raise DataError(f"{self.name} raised {type(error).__name__}: {' '.join(str(error).split())}") from error
        if values.shape != (batch.count,) or values.dtype.kind not in "fiub":
            got = f"{values.dtype} {list(values.shape)}"
            raise DataError(f"{self.name} gave {got}, but one number for each of {batch.count} samples is wanted")
        return values
