"""Processes that help the main process of a search, as many as `workers` asks for."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from compressctl import signals
from compressctl.pipeline.setup import open_setup
from compressctl.progress import Silent
from compressctl.recipe.model import Recipe
from compressctl.search.clock import Clock
from compressctl.search.start import process


@contextmanager
def helpers(recipe: Recipe, count: int, seconds: float) -> Iterator[None]:
    """Let `count` more processes search for so many seconds while the block runs, and wait for the trials they are at.

    Args:
        recipe: of the search, with its storage named.
        count: how many.
        seconds: until they begin no more trials.
    """
    spawn = multiprocessing.get_context("spawn")
    started = [spawn.Process(target=_help, args=(recipe, n, seconds), daemon=True) for n in range(1, count + 1)]
    try:
        for helper in started:
            helper.start()
        yield
    except BaseException:  # a signal as well: no helper may search on; it is raised again
        for helper in started:
            if helper.pid is not None:
                helper.terminate()
        raise
    finally:
        for helper in started:
            if helper.pid is not None:
                helper.join()


def _help(recipe: Recipe, index: int, seconds: float) -> None:
    signals.handle(silent=True)
    parent = multiprocessing.parent_process()
    assert parent is not None
    with suppress(KeyboardInterrupt):  # the process that started this one says so
        _take_part(recipe, index, seconds, deserted=lambda: not parent.is_alive())
    signals.end(0)


def _take_part(recipe: Recipe, index: int, seconds: float, deserted: Callable[[], bool]) -> None:
    """Help a search whose main process is another.

    Args:
        recipe: as that process works with it.
        index: which helper this is, from 1.
        seconds: until no more trials begin.
        deserted: says whether that process is gone.
    """
    with open_setup(recipe, Silent()) as setup:
        own = process(setup, Clock(seconds), f"trial-{index}", recipe.seed + index)
        replace(own, reserve=0.0).run(deserted)
