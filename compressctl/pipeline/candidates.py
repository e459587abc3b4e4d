"""Models after some of the passes, as files that onnxruntime has run, and what they measure."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from compressctl.container.opened import as_stored
from compressctl.container.pack import pack
from compressctl.container.signature import PACKED, is_packed
from compressctl.measure.isolated import check_file
from compressctl.measure.measurement import Measurement, measure_files, weigh_files
from compressctl.measure.unpacked import large_packed
from compressctl.model.external import model_files
from compressctl.model.provenance import stamp
from compressctl.model.same import same_model
from compressctl.model.save import remove_former_data, save_model
from compressctl.model.staging import copy_into_place
from compressctl.pipeline.setup import Setup
from compressctl.pipeline.stages import Stage


@dataclass(frozen=True)
class Candidate:
    """What may become the output.

    Attributes:
        stages: the passes that led to it.
        model: what they led to.
        stated: names of the values whose types its file states, see `save_model`.
        handed_on: whether the model is the input still, whose bytes `file` then has.
        file: the model as onnxruntime opens it.
        stored: the file whose size counts: `file`, or the same packed.
    """

    stages: tuple[Stage, ...]
    model: ir.Model
    stated: frozenset[str]
    handed_on: bool
    file: Path
    stored: Path


def save_candidate(setup: Setup, stages: Sequence[Stage], name: str) -> Candidate:
    """Save the model after `stages` in a folder `name` of the work folder, and run it once in a process of its own.

    Where the input itself runs on nothing that could be made up, the result is opened alone; where the recipe measures
    nothing, not even that.

    Where they left the input as it was, its bytes are handed on, without a word of where they come from.

    Raises:
        ModelError: onnxruntime cannot load or run it.
        OutputError: it cannot be written.
    """
    recipe, loaded = setup.recipe, setup.loaded
    model = stages[-1].outcome.model if stages else loaded.model
    folder = setup.context.workdir / "candidates" / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / recipe.output.with_suffix(".onnx").name
    handed_on = same_model(model, loaded.model)
    if handed_on and model_files(setup.baseline_file) == (setup.baseline_file,):
        shutil.copyfile(setup.baseline_file, file)
    else:
        if not handed_on:
            stamp(model, replace(setup.provenance, passes=tuple(stage.config.type for stage in stages)))
        save_model(model, file, overwrite=True, stated=loaded.stated)
    if recipe.measure:
        feeds = None if setup.unmeasured else setup.workload.feeds
        check_file(file, feeds, threads=recipe.threads, lean=bool(large_packed(model)))
    packed = recipe.output.suffix == PACKED
    stored = file.with_suffix(PACKED) if packed else file
    if packed and handed_on and is_packed(recipe.model):
        shutil.copyfile(recipe.model, stored)
    elif packed:
        pack(file, stored, threads=recipe.threads)
    return Candidate(tuple(stages), model, loaded.stated, handed_on, file, stored)


def write_candidate(candidate: Candidate, output: Path) -> list[Path]:
    """Put a candidate in the place of the output; return the files written.

    Raises:
        OutputError: it cannot be written; what was there before is intact.
    """
    if candidate.stored != candidate.file or model_files(candidate.file) == (candidate.file,):
        copy_into_place(candidate.stored, output)
        remove_former_data(output, keep=())
        return [output]
    return save_model(candidate.model, output, overwrite=True, stated=candidate.stated)


def measure_candidates(setup: Setup, candidates: Sequence[Candidate]) -> list[Measurement]:
    """Measure the input and the candidates side by side, or their sizes alone; the first Measurement is the input's.

    Raises:
        ModelError, DataError: a file cannot be run on the samples.
    """
    files = [candidate.file for candidate in candidates]
    if setup.unmeasured is None:
        measured = measure_files(setup.baseline_file, files, setup.workload, progress=setup.context.progress)
    else:
        measured = weigh_files(setup.baseline_file, files)
    model = setup.recipe.model
    stored = model if is_packed(model) else setup.baseline_file
    return list(as_stored(measured, [stored, *(candidate.stored for candidate in candidates)]))
