"""The parts of the search space, as an explicit tuple, in the order in which their parameters are drawn."""

from __future__ import annotations

from compressctl.passes.cluster.run import ClusterSpace
from compressctl.passes.finetune.run import FinetuneSpace
from compressctl.passes.low_rank.run import LowRankSpace
from compressctl.passes.prune.search import PruneSpace
from compressctl.passes.qat.run import QatSpace
from compressctl.passes.quantize.search import QuantizeSpace
from compressctl.passes.quantize_weights.search import QuantizeWeightsSpace
from compressctl.passes.simplify.run import SimplifySpace
from compressctl.passes.smooth_quant.run import SmoothQuantSpace
from compressctl.passes.space import PassSpace
from compressctl.passes.sparsify.run import SparsifySpace
from compressctl.passes.static import StaticSpace
from compressctl.passes.store.run import StoreSpace

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
