"""The choices that structured pruning offers. Cheap to import: the command line lists them."""

from __future__ import annotations

from typing import Literal

Importance = Literal["l1", "l2", "geometric-median", "activation", "taylor", "hessian", "random"]
MEASURED = ("activation", "taylor", "hessian")  # on samples
