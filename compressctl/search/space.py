"""What a search may do to a model: found out once, kept with the study, the same for all who share it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from pydantic import TypeAdapter

from compressctl.errors import CompressctlError
from compressctl.factorization.units import units
from compressctl.passes import simplify
from compressctl.passes.base import PassConfig
from compressctl.pipeline.setup import Setup
from compressctl.pipeline.stages import run_passes
from compressctl.pruning.sparse import sparse_weights
from compressctl.quantization.plan import Selection, make_plan
from compressctl.quantization.smoothing import places
from compressctl.quantization.weight_targets import targets
from compressctl.recipe import Recipe
from compressctl.search.proxies import rank_layers
from compressctl.structure.groups import find_groups

_MOST_SPARED = 6


@dataclass(frozen=True)
class Space:
    """What candidates are made of.

    Attributes:
        formats: how numbers may be stored, see `candidate.py`.
        structures: what may be cut: names of passes with commas between them, in order.
        sparse: whether single weights may go.
        calibrated: whether there are samples to calibrate on.
        smooth: whether there are places for smooth_quant.
        roundings: of static weights of few bits.
        train: whether there are samples to train on.
        spare: layers that may get more bits than the others, the one that gains most by it first.
    """

    formats: tuple[str, ...]
    structures: tuple[str, ...]
    sparse: bool
    calibrated: bool
    smooth: bool
    roundings: tuple[str, ...]
    train: bool
    spare: tuple[str, ...]

    @property
    def most_spared(self) -> int:
        """How many layers may be spared at once: never more than half of them."""
        return min(_MOST_SPARED, len(self.spare) // 2)

    @classmethod
    def read(cls, content: dict[str, Any]) -> Space:
        """Return what `dataclasses.asdict` made a JSON object of."""
        found: Space = TypeAdapter(cls).validate_python(content)
        return found


def beginning(recipe: Recipe) -> tuple[PassConfig, ...]:
    """Return the passes that every candidate begins with."""
    return recipe.passes or (simplify.Config(),)


def survey(setup: Setup) -> Space:
    """Look at what the model is made of, and rank its layers.

    Raises:
        CompressctlError: the passes that every candidate begins with cannot be run.
    """
    model = run_passes(setup, beginning(setup.recipe))[-1].outcome.model
    calibrated, trains = setup.context.calibration is not None, setup.context.training is not None
    static = make_plan(model, "int8", Selection(), calibrated=True, embeddings=False)[0].static if calibrated else ()
    dynamic = make_plan(model, "int8-dynamic", Selection(), calibrated=calibrated, embeddings=True)[0].dynamic
    weights = targets(model.graph)[0]
    formats = ["float"]
    formats += ["fp16"] if weights else []
    formats += ["int8", "w4a8", "w3a8", "w2a8"] if static else []
    formats += ["auto"] if static and dynamic else []
    formats += ["int8-dynamic"] if dynamic else []
    formats += ["int4", "int3", "int2", "cluster"] if weights else []
    torch = importlib.util.find_spec("torch") is not None
    return Space(
        formats=tuple(formats),
        structures=_structures(model),
        sparse=bool(sparse_weights(model.graph)[0]),
        calibrated=calibrated,
        smooth=calibrated and bool(places(model.graph)[0]),
        roundings=("gptq", "adaround") if torch else ("gptq",),
        train=trains and torch,
        spare=tuple(rank_layers(setup, model, static or dynamic)),
    )


def _structures(model: ir.Model) -> tuple[str, ...]:
    cuttable = _can_cut(model)
    factorable = bool(units(model.graph, lambda _: True)[0])
    both: Sequence[str] = ("prune,low_rank", "low_rank,prune") if cuttable and factorable else ()
    return ("", *(("prune",) if cuttable else ()), *(("low_rank",) if factorable else ()), *both)


def _can_cut(model: ir.Model) -> bool:
    try:
        groups = find_groups(model)
    except CompressctlError:  # a graph that cannot be related is one that cannot be cut
        return False
    return any(group.kind in ("channel", "neuron", "head") and not group.fixed.all() for group in groups)
