"""Models after some of the passes, as files that onnxruntime has run, and what they measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compressctl.container.opened import as_stored
from compressctl.container.pack import pack
from compressctl.container.signature import PACKED, is_packed
from compressctl.measure.isolated import check_file
from compressctl.measure.measurement import Measurement, measure_files
from compressctl.model.provenance import stamp
from compressctl.model.save import save_model
from compressctl.pipeline.setup import Setup
from compressctl.pipeline.stages import Stage


@dataclass(frozen=True)
class Candidate:
    """What may become the output.

    Attributes:
        stages: the passes that led to it.
        file: the model as onnxruntime opens it.
        stored: the file whose size counts: `file`, or the same packed.
    """

    stages: tuple[Stage, ...]
    file: Path
    stored: Path


def save_candidate(setup: Setup, stages: Sequence[Stage], name: str) -> Candidate:
    """Save the model after `stages` in a folder `name` of the work folder, and run it once in a process of its own.

    Its external data are called as those of the output, so it can be copied there.

    Raises:
        ModelError: onnxruntime cannot load or run it.
        OutputError: it cannot be written.
    """
    recipe = setup.recipe
    model = stages[-1].outcome.model if stages else setup.loaded.model
    stamp(model, replace(setup.provenance, passes=tuple(stage.config.type for stage in stages)))
    folder = setup.workdir / "candidates" / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / recipe.output.with_suffix(".onnx").name
    save_model(model, file, overwrite=True)
    check_file(file, setup.workload.feeds or {}, threads=recipe.threads)
    if recipe.output.suffix != PACKED:
        return Candidate(tuple(stages), file, file)
    pack(file, file.with_suffix(PACKED), threads=recipe.threads)
    return Candidate(tuple(stages), file, file.with_suffix(PACKED))


def measure_candidates(setup: Setup, candidates: Sequence[Candidate]) -> list[Measurement]:
    """Measure the input and the candidates side by side; the first Measurement is the input's.

    Raises:
        ModelError, DataError: a file cannot be run on the samples.
    """
    measured = measure_files(
        setup.baseline_file,
        [candidate.file for candidate in candidates],
        setup.workload,
        progress=setup.context.progress,
    )
    model = setup.recipe.model
    stored = model if is_packed(model) else setup.baseline_file
    return list(as_stored(measured, [stored, *(candidate.stored for candidate in candidates)]))
