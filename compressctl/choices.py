"""Words of which an option takes one, and which lower layers act on. Cheap to import: the command line lists them."""

from __future__ import annotations

from typing import Literal

StarterGoal = Literal["fast", "small", "both"]
"""What a starter recipe may be asked to aim at."""
Structure = Literal["channel", "neuron", "head", "width", "block"]
"""What structured pruning cuts."""
UnitImportance = Literal["l1", "l2", "geometric-median", "activation", "taylor", "hessian", "random"]
"""By what structured pruning ranks units."""
FactorMethod = Literal["svd", "spatial", "tucker"]
"""The form of a factored weight."""
FactorMethodOrAuto = Literal["auto", FactorMethod]
FactorWhere = Literal["size", "latency", "always"]
"""Where weights are factored: where elements and MACs fall, where measured latency falls as well, or always."""
RangeMethod = Literal["minmax", "percentile", "entropy", "mse"]
"""How ranges of activations are chosen; see `numerics.ranges`."""
Granularity = int | Literal["channel", "tensor"]
"""Which weights share a scale: so many of an output side by side, all of an output, or all of a tensor."""
BatchNorm = Literal["train", "freeze"]
"""Whether BatchNormalization is trained with the statistics of the batches, or keeps those of the model."""
