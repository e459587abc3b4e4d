"""What a search may do to a model, found out by a look at it."""

from __future__ import annotations

from itertools import permutations

from compressctl.passes.base import PassConfig
from compressctl.passes.searched import SPACES
from compressctl.passes.space import Format, Space, Subject
from compressctl.passes.training import has_torch
from compressctl.pipeline.setup import Setup
from compressctl.pipeline.stages import run_passes
from compressctl.recipe.model import Recipe
from compressctl.search.candidate import passes_of
from compressctl.search.proxies import rank_layers
from compressctl.search.suggest import filled

_FLOAT = Format("float", "float")
_KINDS = ("float", "integer", "weights")  # in the order in which they are offered


def beginning(recipe: Recipe) -> list[PassConfig]:
    """Return the passes that every candidate begins with: those of one that changes nothing."""
    nothing = Space((_FLOAT,), ("",), {}, calibrated=False, train=False, spare=())
    return passes_of(filled(nothing, {}), nothing, recipe.passes)


def survey(setup: Setup) -> Space:
    """Look at what the model is made of, and rank its layers.

    Raises:
        CompressctlError: the passes that every candidate begins with cannot be run.
    """
    model = run_passes(setup, beginning(setup.recipe))[-1].outcome.model
    trains = setup.context.training is not None and has_torch()
    subject = Subject(model, setup.context, setup.workload.fidelity, trains)
    formats = [_FLOAT, *(format for part in SPACES for format in part.formats(subject))]
    structures = [part.type for part in SPACES if part.cuts(subject)]
    return Space(
        formats=tuple(sorted(formats, key=lambda format: _KINDS.index(format.kind))),
        structures=("", *structures, *map(",".join, permutations(structures, 2))),
        choices={name: values for part in SPACES for name, values in part.choices(subject).items()},
        calibrated=subject.calibrated,
        train=trains,
        spare=tuple(rank_layers(setup, subject)),
    )
