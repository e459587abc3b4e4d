"""How a search begins: what is refused before any work, and what all of its processes agree on."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

from compressctl.container.opened import holds, read_provenance
from compressctl.container.signature import PACKED
from compressctl.distributed import this_process
from compressctl.errors import UsageError
from compressctl.guard import beside
from compressctl.model.save import check_writable
from compressctl.pipeline.setup import Setup
from compressctl.recipe.model import Recipe
from compressctl.search.clock import Clock
from compressctl.search.files import begun, storage_of
from compressctl.search.halving import SuccessiveHalving
from compressctl.search.loop import Search
from compressctl.search.record import read
from compressctl.search.space import survey
from compressctl.search.study import identity, keep_space, open_study, space_of, worker

_MEASURED = 8  # models that are measured in full at the end: the front, and the stages of the final run
_OVERHEAD = 2.5  # seconds to prove, time and look into one of them
_MOST_RESERVED = 0.4  # of the time limit


def check(recipe: Recipe) -> None:
    """Refuse what cannot be searched.

    Raises:
        UsageError: there is no budget on accuracy, so the smallest model would be an empty one; or torchrun started
            this.
    """
    if not any(budget.scored for _, budget, _ in recipe.limits()):
        raise UsageError("a search needs a budget on accuracy", "add --max-accuracy-drop B, --data D and --metric M")
    if not recipe.data:
        raise UsageError("a search measures accuracy", "add --data D")
    if this_process().size > 1:
        raise UsageError("a search does not run under torchrun", "use --workers, or the same --storage on each machine")


def working(recipe: Recipe) -> Recipe:
    """Return the recipe that a search works with: its storage and its cache named, its own output its to replace.

    Raises:
        UsageError: a search was begun there, and it is not said whether to go on with it.
    """
    assert recipe.search is not None
    storage = storage_of(recipe)
    if recipe.search.storage is None and begun(storage) and not recipe.resume:
        if not recipe.force:
            raise UsageError(f"{storage}: a search was begun", "--resume goes on with it, --force starts again")
        Path(storage).unlink()
    search = recipe.search.model_copy(update={"storage": storage})
    cache = recipe.cache or beside(recipe.output, ".search.cache")
    return recipe.model_copy(update={"search": search, "cache": cache, "force": True, "resume": False})


def check_output(recipe: Recipe, setup: Setup, storage: str) -> None:
    """Refuse an output that neither this recipe nor an earlier part of the same search wrote.

    Raises:
        OutputError: says so.
        UsageError: the storage cannot be used, or belongs to another search.
    """
    found = read_provenance(recipe.output) if recipe.output.is_file() else None
    ours = found is not None and found.input_sha256 == setup.loaded.sha256 and begun(storage)
    if ours and found is not None:
        study = open_study(storage, identity(setup), objectives(recipe))
        records = (read(trial) for trial in study.get_trials(deepcopy=False))
        ours = any(record is not None and record.provenance == found.recipe for record in records)
    check_writable(
        recipe.output,
        force=recipe.force or ours or holds(recipe.output, setup.loaded.model),
        provenance=None,
        source=recipe.model,
        suffixes=(".onnx", PACKED),
        read=read_provenance,
    )


def objectives(recipe: Recipe) -> int:
    """Return how many numbers a trial has: bytes, latency or both, and the drop of the metric."""
    assert recipe.search is not None
    return 3 if recipe.search.objective == "both" else 2


def process(setup: Setup, clock: Clock, name: str, seed: int) -> Search:
    """Return this process's part in a search; the first one to come looks at the model for all.

    Args:
        setup: of the search, its storage named.
        clock: its time.
        name: under which it keeps its candidates in the work folder.
        seed: of what it chooses.

    Raises:
        UsageError: the storage cannot be used, or belongs to another search; the data are random numbers.
    """
    recipe, workload = setup.recipe, setup.workload
    if workload.evaluation is None or workload.metric is None:
        raise UsageError("accuracy cannot be judged on random data", "give real samples as --data")
    study = open_study(storage_of(recipe), identity(setup), objectives(recipe))
    setup.context.progress.step("measure the input")
    halving = SuccessiveHalving(setup.baseline_file, workload.evaluation, workload.metric, recipe.threads)
    space = space_of(study)
    if space is None:
        space = survey(setup)
        keep_space(study, space)
    reserve = min(_MEASURED * (halving.seconds + _OVERHEAD), _MOST_RESERVED * clock.limit)
    return Search(setup, study, space, halving, clock, reserve, name, seed)


def own_seed(seed: int) -> int:
    """Return a seed for one of several processes that cannot count themselves."""
    return seed + 1 + crc32(worker().encode())
