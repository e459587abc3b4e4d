"""Searching for the passes and their settings that make a model smallest or fastest within all budgets.

Optuna (Akiba et al. 2019, arXiv:1907.10902) chooses candidates by a multi-objective tree-structured Parzen estimator
(Ozaki et al. 2022, JAIR 73), after those that are known to be good. What they measure is kept in a storage, so that a
search that was killed goes on, and that several processes may share. The best candidate so far is always on disk.
"""

from __future__ import annotations

from importlib.util import find_spec

from compressctl.errors import MissingExtraError
from compressctl.progress import Progress
from compressctl.recipe.model import Recipe
from compressctl.report.schema import Report


def search(recipe: Recipe, progress: Progress | None = None) -> Report | None:
    """Search, write the best result and its reports, return the report; None where another process writes them.

    Raises:
        MissingExtraError: optuna is not installed.
        CompressctlError: of the kind that names what is wrong; what was found so far stays on disk.
    """
    if find_spec("optuna") is None:
        raise MissingExtraError("a search", "search")
    from compressctl.search.run import run_search

    return run_search(recipe, progress)
