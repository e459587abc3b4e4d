"""A search from its first look at the model to the report of what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from compressctl.errors import ModelError
from compressctl.notes import Note, done, warning
from compressctl.pipeline import run
from compressctl.pipeline.paths import guard_runs
from compressctl.pipeline.setup import open_setup
from compressctl.progress import Progress, Silent
from compressctl.recipe.model import Recipe
from compressctl.report.schema import Report
from compressctl.report.write import write_report
from compressctl.search.clock import Clock
from compressctl.search.files import search_writes, storage_of
from compressctl.search.front import measure_front, write_front
from compressctl.search.locks import leading
from compressctl.search.loop import Search
from compressctl.search.ranking import front
from compressctl.search.record import Record
from compressctl.search.start import check, check_output, own_seed, process, working
from compressctl.search.workers import helpers

_FRONT = 6  # points at most


def run_search(recipe: Recipe, progress: Progress | None) -> Report | None:
    """See `search`."""
    check(recipe)
    guard_runs([recipe], writes=search_writes(recipe))
    options = recipe.search
    assert options is not None
    clock, asked, recipe = Clock(options.time_limit), recipe, working(recipe)
    with open_setup(recipe, progress or Silent()) as setup, leading(recipe.output) as is_main:
        if is_main:
            check_output(asked, setup, storage_of(recipe))
        own = process(setup, clock, "trial", recipe.seed if is_main else own_seed(recipe.seed))
        own = replace(own, publishes=is_main)
        own.begin()
        with helpers(recipe, options.workers - 1, clock.left() - own.reserve):
            own.run()
        if not is_main:
            setup.context.progress.step(f"helped: another process writes {recipe.output}")
            return None
        points = measure_front(setup, _front(recipe, own))
        told = write_front(recipe.output, points)
        report = run(points[0].recipe, progress)
        assert report is not None
        report = replace(report, front=told, notes=(*report.notes, *_notes(own.records(), own)))
        write_report(report, setup.report)
        return report


def _front(recipe: Recipe, own: Search) -> list[Record]:
    """Return the candidates to measure in full: as many as the time allows, one at least.

    Raises:
        ModelError: no candidate could be made.
    """
    records = own.records()
    each = own.reserve / 8
    found = front(recipe, records, max(1, min(_FRONT, int(own.clock.left() / each) - 2)))
    if not found:
        reasons = Counter(record.reason for record in records if record.reason is not None)
        raise ModelError(f"no candidate could be made: {reasons.most_common(1)[0][0] if reasons else 'none was tried'}")
    return found


def _notes(records: Sequence[Record], own: Search) -> list[Note]:
    """Say what the search did."""
    tried = [record for record in records if record.seconds > 0]
    failed = [record for record in tried if record.reason is not None]
    full = sum(record.complete for record in tried)
    text = f"searched {own.clock.spent():.0f} s: {len(tried)} candidates, {full} measured on all samples"
    early = len(tried) - full - len(failed)
    notes = [done(f"{text}, {early} left early, {len(failed)} that could not be made")]
    notes += [
        warning(f"candidates of the search failed: {reason} ({count})")
        for reason, count in Counter(record.reason for record in failed).most_common()
        if reason is not None and reason.startswith("a bug in compressctl")
    ]
    return notes
