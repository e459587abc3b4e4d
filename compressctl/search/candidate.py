"""A candidate: its parameters, asked of Optuna one by one, and the passes that they stand for.

Some are known to be good, to begin with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import escape
from typing import Any

from compressctl.passes.base import PassConfig
from compressctl.passes.searched import SPACES
from compressctl.passes.space import Chooser, Draw, Params, Space, Stage


def suggest(trial: Chooser, space: Space) -> dict[str, Any]:
    """Return a value for each parameter; which ones there are depends on the values of others."""
    draw = Draw(trial, space)
    draw.choice("format", [format.name for format in space.formats])
    draw.choice("structure", space.structures)
    for part in SPACES:
        part.draw(draw)
    cut = draw.params["structure"].split(",")
    renamed = any(part.renames and part.type in cut for part in SPACES)
    if draw.format.spares and space.most_spared and not renamed:
        draw.whole("spared", 0, space.most_spared)
    return draw.params


def starts(space: Space) -> Iterator[Params]:
    """Yield what is known to be good and quick, best first, so that the shortest search has plain INT8."""
    known = [start for part in SPACES for start in part.starts(space)]
    for _, params in sorted(known, key=lambda start: start[0]):
        yield filled(space, params)
    yield filled(space, {})


def filled(space: Space, params: Params) -> Params:
    """Return parameters with the neutral value of every other one that `suggest` will ask for."""

    class Given:
        def suggest_categorical(self, name: str, choices: Any) -> Any:
            return params.get(name, choices[0])

        def suggest_int(self, name: str, low: int, high: int) -> int:
            return int(params.get(name, low))

        def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
            return float(params.get(name, low))

    return suggest(Given(), space)


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
