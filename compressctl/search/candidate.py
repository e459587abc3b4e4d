"""What a candidate is made of: parameters as Optuna knows them -> passes."""

from __future__ import annotations

from collections.abc import Sequence
from glob import escape

from compressctl.passes.base import PassConfig
from compressctl.passes.searched import SPACES
from compressctl.passes.space import Params, Space, Stage


def passes_of(params: Params, space: Space, begin: Sequence[PassConfig] = ()) -> list[PassConfig]:
    """Return the passes that parameters stand for.

    Args:
        params: a value for each parameter that `suggest` asks for.
        space: what they were chosen from.
        begin: the passes that the user wants every candidate to begin with, in place of those that fit it.
    """
    spared = tuple(escape(name) for name in space.spare[: params.get("spared", 0)])
    found = [one for part in SPACES for one in part.passes(params, space, spared)]
    if begin:
        found = [(stage, config) for stage, config in found if stage not in (Stage.BEGIN, Stage.FOLD)]
    structure = params["structure"].split(",")
    found.sort(key=lambda one: (one[0], structure.index(one[1].type) if one[0] is Stage.CUT else 0))
    return [*begin, *(config for _, config in found)]


def label(passes: Sequence[PassConfig]) -> str:
    """Return passes in a few words: `prune 0.25 > quantize w4a8 gptq`."""
    words = [config.label for config in passes if not config.prepares]
    return " > ".join(words) or "simplify"
