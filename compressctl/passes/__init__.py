"""The passes, as an explicit tuple: recipe, JSON Schema, reference and command line follow from it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from compressctl.passes import (
    clip,
    cluster,
    distill,
    equalize,
    finetune,
    low_rank,
    prune,
    qat,
    quantize,
    quantize_weights,
    simplify,
    smooth_quant,
    sparsify,
    store,
)

PASSES: tuple[ModuleType, ...] = (
    simplify,
    equalize,
    smooth_quant,
    prune,
    sparsify,
    low_rank,
    clip,
    cluster,
    quantize,
    quantize_weights,
    qat,
    distill,
    finetune,
    store,
)


def name_of(module: ModuleType) -> str:
    """Return the `type` by which recipes name a pass."""
    return str(module.Config.model_fields["type"].default)


def pass_of(config: Any) -> ModuleType:
    """Return the pass module that a config belongs to."""
    return next(module for module in PASSES if isinstance(config, module.Config))
