"""Running the passes of a recipe one after the other, each on what the one before it left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir

from compressctl.errors import OutputError
from compressctl.measure.machine import processor
from compressctl.model.tensor_file import TensorFiles
from compressctl.model.tensors import drop_pages, stored_tensors
from compressctl.model.verify import verify_graph
from compressctl.notes import warning
from compressctl.passes.base import Context, Outcome, PassConfig
from compressctl.pipeline.cache import key_of
from compressctl.pipeline.inputs import model_hashes
from compressctl.pipeline.setup import Setup
from compressctl.versions import torch_version


@dataclass(frozen=True)
class Stage:
    """The model after a pass, and what the pass had to say.

    Attributes:
        config: the pass.
        outcome: what it returned.
        seconds: wall time; of a cached one, when it ran.
        cached: whether it came from the cache.
    """

    config: PassConfig
    outcome: Outcome
    seconds: float
    cached: bool = False


def run_passes(setup: Setup, passes: Sequence[PassConfig]) -> list[Stage]:
    """Run passes on the model of a setup; those that ran before on the same come from the cache.

    Raises:
        CompressctlError: a pass cannot do what it was asked for.
    """
    stages: list[Stage] = []
    for index, (config, key) in enumerate(zip(passes, keys(setup, passes), strict=True)):
        found = setup.cache.get(key) if setup.cache is not None else None
        if found is not None:
            setup.context.progress.step(f"{config.type}: unchanged, from the cache")
            stages.append(Stage(config, found.outcome, found.seconds, cached=True))
            continue
        setup.context.progress.step(config.type)
        begun = time.perf_counter()
        current = stages[-1].outcome.model if stages else setup.loaded.model
        checkpoint = setup.checkpoints.of_pass(index, config.type) if setup.checkpoints is not None else None
        context = replace(_read(setup.context, config), checkpoint=checkpoint, unprepared=_unprepared(setup, stages))
        outcome = config.run(current.clone(), context)
        verify_graph(outcome.model, where=config.type)
        _put_down(outcome.model, setup)
        seconds = time.perf_counter() - begun
        if setup.cache is not None:
            outcome = _kept(setup, key, outcome, seconds)
        stages.append(Stage(config, outcome, seconds))
    return stages


def _unprepared(setup: Setup, stages: Sequence[Stage]) -> ir.Model | None:
    """Return the model before the last passes, if they merely prepared it."""
    length = len(stages)
    while length and stages[length - 1].config.prepares:
        length -= 1
    if length == len(stages):
        return None
    return stages[length - 1].outcome.model if length else setup.loaded.model


def _put_down(model: ir.Model, setup: Setup) -> None:
    """Leave large weights on disk, for what comes next to have the memory."""
    files = TensorFiles(setup.context.workdir)
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.Tensor):
            files.keep(value)
    for each in (model, setup.loaded.model):
        drop_pages(tensor for _, tensor in stored_tensors(each.graph))


def keys(setup: Setup, passes: Sequence[PassConfig]) -> list[str]:
    """Return what the result of each pass is kept under in the cache."""
    recipe = setup.recipe
    key = key_of(
        setup.provenance.input_sha256,
        recipe.input,
        setup.provenance.versions,
        torch_version(),
        processor(),  # passes look at it, or time on it
        recipe.seed,
        recipe.device,
        recipe.threads,
        recipe.batch_size,  # passes time at it
    )
    found = []
    for config in passes:
        key = key_of(key, config.model_dump(mode="json"), model_hashes([config]), _dependencies(setup, config))
        found.append(key)
    return found


def _dependencies(setup: Setup, config: PassConfig) -> dict[str, Any]:
    """Return what identifies the samples that a pass reads; where it has none to train on, those to judge it train."""
    by_name = {"calibration": "calibrate", "training": "train", "evaluation": "data"}
    found: dict[str, Any] = {by_name[name]: setup.data.get(by_name[name]) for name in config.reads}
    metric = (setup.recipe.metric, setup.data.get("metric"))
    if "training" in config.reads:
        found |= {"metric": metric, "shared": None if setup.recipe.train else setup.data.get("data")}
    if "evaluation" in config.reads:
        found |= {"metric": metric, "max_accuracy_drop": setup.recipe.max_accuracy_drop}
        found |= {"held_out": setup.context.training is not None and not setup.recipe.train}
    return found


def _read(context: Context, config: PassConfig) -> Context:
    """Return the context with no other samples than the pass says that it reads."""
    return replace(
        context,
        calibration=context.calibration if "calibration" in config.reads else None,
        training=context.training if "training" in config.reads else None,
        evaluation=context.evaluation if "evaluation" in config.reads else None,
        max_accuracy_drop=context.max_accuracy_drop if "evaluation" in config.reads else None,
    )


def _kept(setup: Setup, key: str, outcome: Outcome, seconds: float) -> Outcome:
    """Keep an outcome in the cache and go on from what is kept, so that a later run finds the same."""
    assert setup.cache is not None
    try:
        return setup.cache.put(key, outcome, seconds).outcome
    except OutputError as error:
        return replace(outcome, notes=(*outcome.notes, warning(f"the result was not kept: {error}")))
