"""The passes, as an explicit tuple: recipe, JSON Schema, reference and command line follow from it."""

from __future__ import annotations

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
from compressctl.passes.base import PassConfig

PASSES: tuple[type[PassConfig], ...] = (
    simplify.Config,
    equalize.Config,
    smooth_quant.Config,
    prune.Config,
    sparsify.Config,
    low_rank.Config,
    clip.Config,
    cluster.Config,
    quantize.Config,
    quantize_weights.Config,
    qat.Config,
    distill.Config,
    finetune.Config,
    store.Config,
)
CONFIGS = {config.name(): config for config in PASSES}
