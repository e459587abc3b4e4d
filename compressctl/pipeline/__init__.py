"""The flat story of a run: load, each pass, save, verify, measure, choose, judge, explain, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

from compressctl.distributed import this_process
from compressctl.explanation.explain import explain
from compressctl.explanation.schema import Explanation
from compressctl.measure import machine
from compressctl.measure.clocks import MATERIAL, remarks
from compressctl.measure.floor import Shortfall, below
from compressctl.measure.measurement import Measurement
from compressctl.model.read import sha256
from compressctl.model.same import same_model
from compressctl.notes import Note, done, skipped, warning
from compressctl.passes.base import PassConfig
from compressctl.pipeline.budgets import judge, judge_targets
from compressctl.pipeline.candidates import Candidate, measure_candidates, save_candidate, write_candidate
from compressctl.pipeline.choice import ChosenResult, choose, lengths
from compressctl.pipeline.fidelity import degraded
from compressctl.pipeline.inputs import model_hashes
from compressctl.pipeline.paths import locked
from compressctl.pipeline.setup import NO_INPUTS, Setup, open_setup
from compressctl.pipeline.stages import Stage, run_passes
from compressctl.progress import Progress, Silent
from compressctl.quantization.int8.fusion import unfused
from compressctl.recipe.model import Recipe
from compressctl.report.schema import BudgetVerdict, PassReport, Report, Verdict
from compressctl.report.tables import numbered
from compressctl.report.write import write_report
from compressctl.robustness.measure import measure_robustness
from compressctl.robustness.schema import Robustness
from compressctl.versions import versions

_NO_GAIN = warning("nothing was gained: the result is neither smaller nor faster than the input")
_FEWER = 0.05  # a share of multiply-accumulates that latency is expected to follow
_HANDED_ON = "the passes changed nothing: the output is the input as it was"


def run(recipe: Recipe, progress: Progress | None = None) -> Report | None:
    """Run a recipe; write the output and its reports; return the report.

    Of several processes that train together (`torchrun`) the first one writes, measures and gets the report; the others
    return None as soon as the passes are done.

    Raises:
        CompressctlError: of the kind that names what is wrong; nothing is written then.
    """
    started = time.perf_counter()
    with (
        open_setup(recipe, progress or Silent()) as setup,
        locked(recipe.output) if this_process().is_main else nullcontext(),
    ):
        read = setup.data | model_hashes(recipe.passes)
        stages = run_passes(setup, recipe.passes)
        if not this_process().is_main:
            return None
        measured = _Measured(setup, stages)
        choice = choose(recipe, len(stages), measured.at, measured.known)
        result, after = measured.candidate(choice.length), measured.at(choice.length)
        before = measured.before(choice.length)
        short = below(after)
        regressions = _regressions(after, setup.provenance.bytes)
        gained = _gained(setup, stages, choice, after)
        verdicts = (*judge(recipe, after), *judge_targets(stages, choice.rolled_back))
        explanation, robustness = _explain(setup, measured, choice.length), _robustness(setup, result)
        written = write_candidate(result, recipe.output)
        report = Report(
            verdict=_verdict(verdicts, short, regressions, measured=setup.unmeasured is None, gained=gained),
            input=replace(before, path=str(recipe.model)),
            output=replace(after, path=str(recipe.output)),
            passes=tuple(
                _pass_report(stage, choice.rolled_back.get(index), measured.found.get(index + 1))
                for index, stage in enumerate(stages)
            ),
            budgets=verdicts,
            notes=(
                *setup.notes,
                *([done(_HANDED_ON)] if result.handed_on else ()),
                *(unfused(result.model, after.executed_ops) if setup.unmeasured is None else _unmeasured(setup)),
                *degraded(setup.recipe, short, made_up=any(output.made_up for output in after.fidelity)),
                *regressions,
                *_recorded(after, setup.provenance.bytes),
                *([] if gained else [_NO_GAIN]),
                *remarks(after.latency_ratio, after.witnesses),
                *_promised(before, after),
                *_steps_back(recipe.passes, measured, choice.length),
            ),
            recipe=recipe.model_dump(mode="json"),
            input_sha256=setup.loaded.sha256,
            inputs_sha256=read,
            output_sha256=sha256(written),
            metric=setup.recipe.metric if setup.context.metric else None,
            metric_chosen=setup.context.metric is not None and recipe.metric is None,
            explanation=explanation,
            robustness=robustness,
            below=short,
            machine=machine.describe(),
            versions=versions(),
            seconds=time.perf_counter() - started,
        )
        write_report(report, setup.report)
        if setup.checkpoints is not None:
            setup.checkpoints.remove()
        if setup.cache is not None:
            setup.cache.trim()
    return report


class _Measured:
    """The models after some of the passes, and what they measure.

    Attributes:
        found: what the model measures after so many passes, so far.
        known: the numbers of passes after which it is measured at once.
    """

    def __init__(self, setup: Setup, stages: Sequence[Stage]) -> None:
        self._setup, self._stages = setup, stages
        self._candidates: dict[int, Candidate] = {}
        self.found: dict[int, Measurement] = {}
        self.known = lengths([stage.config for stage in stages]) or [0]
        self._inputs: dict[int, Measurement] = {}
        self._measure(self.known)

    def at(self, length: int) -> Measurement:
        """Return what the model measures after so many passes."""
        if length not in self.found:
            self._measure([length])
        return self.found[length]

    def before(self, length: int) -> Measurement:
        """Return what the input measured beside the model after so many passes."""
        return self._inputs[length]

    def candidate(self, length: int) -> Candidate:
        """Return the model after so many passes as a file."""
        return self._candidates[length]

    def _measure(self, lengths: Sequence[int]) -> None:
        progress = self._setup.context.progress
        progress.step("verify the result in onnxruntime")
        for length in lengths:
            self._candidates[length] = save_candidate(self._setup, self._stages[:length], str(length))
        if self._setup.unmeasured is None:
            progress.step("measure")
        before, *after = measure_candidates(self._setup, [self._candidates[length] for length in lengths])
        self.found |= zip(lengths, after, strict=True)
        self._inputs |= dict.fromkeys(lengths, before)


def _explain(setup: Setup, measured: _Measured, length: int) -> Explanation | None:
    if not setup.recipe.explain:
        return None
    ends = [count for count in measured.known if count < length] + [length]
    labels = numbered([config.type for config in setup.recipe.passes])
    source = setup.workload.fidelity
    assert source is not None
    return explain(
        setup.baseline_file,
        [(labels[count - 1] if count else "input", measured.candidate(count).file) for count in ends],
        source,
        setup.context,
        metric=setup.context.metric,
        evaluation=setup.context.evaluation,
        entries=dict(zip(labels, (config.entry for config in setup.recipe.passes), strict=True)),
    )


def _robustness(setup: Setup, result: Candidate) -> Robustness | None:
    metric, source = setup.context.metric, setup.context.evaluation
    if not setup.recipe.robustness or metric is None or source is None:
        return None
    return measure_robustness(setup.baseline_file, result.file, source, metric, setup.context)


def _unmeasured(setup: Setup) -> list[Note]:
    """Say that nothing was measured, and why."""
    if not setup.recipe.measure:
        return [skipped("not measured (--no-measure): outputs were not compared, and no latency was taken")]
    if setup.unmeasured == NO_INPUTS:
        return [warning(f"nothing was measured: {NO_INPUTS}")]
    text = f"nothing was measured, for the input runs on nothing that could be made up: {setup.unmeasured}"
    return [warning(f"{text}; give samples (--data, --calibrate), sizes and values (--input), or --batch-size")]


def _regressions(after: Measurement, recorded: int) -> list[Note]:
    """Return what measured worse than the input; the bytes that record where a result came from are not counted."""
    found = []
    if after.latency_ratio is not None and after.latency_ratio.low > 1 + MATERIAL:
        found.append(warning(f"the result is slower than the input on this machine: x {after.latency_ratio.value:.2f}"))
    ratio = after.size_ratio
    if ratio is not None and _beyond(ratio, after, recorded) > 1 + MATERIAL:
        found.append(warning(f"the result is larger than the input: x {ratio:.3f}"))
    if after.drop is not None and after.drop.low > 0:
        found.append(warning(f"the metric is worse than the input's by {after.drop.drop:.4g}, beyond chance"))
    return found


def _recorded(after: Measurement, recorded: int) -> list[Note]:
    """Say so where nothing but the record of where it came from makes a result larger."""
    ratio = after.size_ratio
    if ratio is None or ratio <= 1 + MATERIAL or _beyond(ratio, after, recorded) > 1 + MATERIAL:
        return []
    text = f"the result is larger than the input (x {ratio:.3f}) by what records where it came from"
    return [skipped(text)]


def _beyond(ratio: float, after: Measurement, recorded: int) -> float:
    """Return the size of a result over the input's, without the bytes that record where it came from."""
    return ratio * (1 - min(recorded / after.bytes, 1))


def _steps_back(passes: Sequence[PassConfig], measured: _Measured, length: int) -> list[Note]:
    """Say which passes of the result left a model slower and not smaller than they found it."""
    found, labels = [], numbered([config.type for config in passes])
    ends = [count for count in measured.known if 0 < count <= length]
    for earlier, later in pairwise(ends):
        before, after = measured.at(earlier), measured.at(later)
        if before.latency_ratio is None or after.latency_ratio is None:
            continue
        slower = after.latency_ratio.low > before.latency_ratio.high * (1 + MATERIAL)
        if slower and after.bytes > before.bytes * (1 - MATERIAL):
            times = after.latency_ratio.value / before.latency_ratio.value
            text = f"{labels[later - 1]} left the model slower than it found it (x {times:.2f}) and not smaller"
            found.append(warning(text))
    return found


def _promised(before: Measurement, after: Measurement) -> list[Note]:
    """Say so where latency falls clearly less than the multiply-accumulates do."""
    if not before.macs or after.macs is None or after.latency_ratio is None:
        return []
    promised = after.macs / before.macs
    if promised > 1 - _FEWER or after.latency_ratio.low < promised + _FEWER:
        return []
    why = "the rest is memory, overhead, and counts that do not fill the kernels' blocks (16 channels of a convolution)"
    return [done(f"MACs fell to x {promised:.2f}, latency only to x {after.latency_ratio.value:.2f}: {why}")]


def _gained(setup: Setup, stages: Sequence[Stage], choice: ChosenResult, after: Measurement) -> bool:
    """Whether a pass that did anything is in the result, or the result is smaller; where all that is left merely
    prepared others, it has to be faster."""
    models = [setup.loaded.model, *(stage.outcome.model for stage in stages)]
    changed = [
        stage.config
        for index, stage in enumerate(stages)
        if index not in choice.rolled_back and not same_model(models[index], models[index + 1])
    ]
    prepared = all(config.prepares for config in changed) and not all(stage.config.prepares for stage in stages)
    if changed and not prepared:
        return True
    faster = after.latency_ratio is not None and after.latency_ratio.high < 1 - MATERIAL
    return (faster and bool(changed)) or (after.size_ratio is not None and after.size_ratio < 1 - MATERIAL)


def _verdict(
    verdicts: Sequence[BudgetVerdict],
    short: Sequence[Shortfall],
    regressions: Sequence[Note],
    *,
    measured: bool,
    gained: bool,
) -> Verdict:
    if not all(verdict.met for verdict in verdicts):
        return "budget missed"
    if short:
        return "degraded"
    if not measured:
        return "not measured"
    if regressions:
        return "regression"
    return "ok" if gained else "no gain"


def _pass_report(stage: Stage, rolled_back: str | None, measured: Measurement | None) -> PassReport:
    return PassReport(
        type=stage.config.type,
        options=stage.config.model_dump(mode="json"),
        seconds=stage.seconds,
        notes=stage.outcome.notes,
        facts=stage.outcome.facts,
        rolled_back=rolled_back,
        cached=stage.cached,
        measured=measured,
    )
