"""The parts of the search space, as an explicit tuple, in the order in which their parameters are drawn."""

from __future__ import annotations

from compressctl.passes.cluster.search import ClusterSpace
from compressctl.passes.finetune.search import FinetuneSpace
from compressctl.passes.low_rank.search import LowRankSpace
from compressctl.passes.prune.search import PruneSpace
from compressctl.passes.qat.search import QatSpace
from compressctl.passes.quantize.search import QuantizeSpace
from compressctl.passes.quantize_weights.search import QuantizeWeightsSpace
from compressctl.passes.simplify.search import SimplifySpace
from compressctl.passes.smooth_quant.search import SmoothQuantSpace
from compressctl.passes.space import PassSpace
from compressctl.passes.sparsify.search import SparsifySpace
from compressctl.passes.static_search import StaticSpace
from compressctl.passes.store.search import StoreSpace

SPACES: tuple[PassSpace, ...] = (
    SimplifySpace(),
    PruneSpace(),
    LowRankSpace(),
    SparsifySpace(),
    StaticSpace(),
    QuantizeWeightsSpace(),
    ClusterSpace(),
    FinetuneSpace(),
    QatSpace(),
    QuantizeSpace(),
    SmoothQuantSpace(),
    StoreSpace(),
)
